"""The DVC stages, one file each: read params, call the package, write the declared outputs."""
