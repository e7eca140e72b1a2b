from filterwise.papers.chapter import Chapter

CHAPTER = Chapter(name="1-pooling")
