"""What held: the papers' claims, the quantities they are judged by, the verdicts and the ledger.

>>> import filterwise as fw
>>> table = fw.claims.ledger("4-sfp", profile="quick")
>>> table[["claim", "verdict"]].shape[1]
2
"""

from filterwise.claims.ledger import findings, ledger, seed_table
from filterwise.claims.load import chapters, claims_folder, load, load_file
from filterwise.claims.page import badge, chapter_table, ledger_page
from filterwise.claims.quantities import measure, names
from filterwise.claims.schema import VERDICTS, Claim, Condition, PaperNumber, Rule
from filterwise.claims.verdict import Estimate, Finding, find

__all__ = [
    "VERDICTS",
    "Claim",
    "Condition",
    "Estimate",
    "Finding",
    "PaperNumber",
    "Rule",
    "badge",
    "chapter_table",
    "chapters",
    "claims_folder",
    "find",
    "findings",
    "ledger",
    "ledger_page",
    "load",
    "load_file",
    "measure",
    "names",
    "seed_table",
]
