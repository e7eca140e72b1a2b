"""Names of what is compared beside SET, for records and their readers; nothing here needs torch."""

#: SET and the five cosine-similarity algorithms, as `filterwise.prune.rewiring` knows them.
ALGORITHMS = ("SET", "CoDASET", "CoPASET", "CoRSET", "CoDACoRSET", "CoPACoRSET")
BUNDLE = "set-cosine"
DENSE, FIXED, NARROW = "dense", "fixed sparse", "narrow dense"
#: What the algorithms are compared with: all weights; the connections of the beginning, never rewired; and a
#: dense network with hidden layers so narrow that it has as many weights as the sparse ones.
CONTROLS = (DENSE, FIXED, NARROW)
ARMS = (*ALGORITHMS, *CONTROLS)
