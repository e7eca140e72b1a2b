"""Chapter 4: what one filter knows.

Tzach et al. 2023 (VGG-6, VGG-16, A-VGG-16 on CIFAR-10) and Meir et al. 2024 (VGG-16, EfficientNet-B0 on 100
and 1,000 labels).
"""

from filterwise.papers.chapter import Chapter

CHAPTER = Chapter(name="4-sfp")
