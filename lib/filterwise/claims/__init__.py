"""What held: the papers' claims, the quantities they are judged by, the verdicts and the ledger.

>>> import filterwise as fw
>>> table = fw.claims.ledger("4-sfp", profile="quick")
>>> table[["claim", "verdict"]].shape[1]
2
"""

from filterwise.lazy import attach

__getattr__, __dir__, __all__ = attach(
    __name__,
    {
        "claim_files": ["chapters", "claims_folder", "load", "load_file"],
        "ledger_table": ["findings", "ledger", "table_of"],
        "ledger_json": ["entries"],
        "ledger_pages": ["badge", "chapter_grid", "chapter_table", "ledger_page"],
        "registered": ["Quantity", "measure", "quantities", "quantity"],
        "schema": ["VERDICTS", "Claim", "Condition", "Criterion", "PaperNumber", "Rule"],
        "estimates": ["Estimate"],
        "verdict": ["Finding", "find"],
    },
)
