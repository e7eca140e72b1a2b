from filterwise.papers.chapter import Chapter

CHAPTER = Chapter(name="3-power-law")
