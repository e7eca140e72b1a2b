"""Chapter 7: what a head of a vision transformer knows. Koresh et al. (2025), Gross et al. (2025)."""

from filterwise.papers.chapter import Chapter

CHAPTER = Chapter(
    name="7-vit-shp",
    title="Heads of vision transformers",
    question="Do attention heads share the labels out among themselves?",
)
