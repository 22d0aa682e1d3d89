"""The starter faces, and any folder with LaPa's layout and masks in the project's own class ids.

``{train,val,test}/images/*``, ``labels/*.png`` and ``landmarks/*.txt`` (iBUG-68,
:func:`facemark.data.samples.read_points`).
"""

from facemark.data.samples import folder_samples as samples

__all__ = ["samples"]
