"""The starter faces (and any folder laid out as LaPa's, with masks in our own class ids)."""

from facemark.data.samples import folder_samples as samples

__all__ = ["samples"]
