"""CelebAMask-HQ (https://github.com/switchablenorms/CelebAMask-HQ) with its parts merged into one indexed mask.

``{train,val,test}/images/*.jpg`` and ``labels/*.png``, class ids in the official order, which is the project's own.
"""

from facemark.data.samples import folder_samples as samples

__all__ = ["samples"]
