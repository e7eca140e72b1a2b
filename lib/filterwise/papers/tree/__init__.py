"""Chapter 2: learning on trees. Meir et al., Sci. Rep. 13, 962 (2023), Tree-3 beside LeNet-5."""

from filterwise.papers.chapter import Chapter

CHAPTER = Chapter(name="2-tree", title="Learning on trees", question="?")
