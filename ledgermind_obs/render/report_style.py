"""The look of the HTML report: one table of colours, light and dark, and the layout."""

from __future__ import annotations

from ledgermind_obs.freshness import STATES, State
from ledgermind_obs.lineage.subgraph import UNKNOWN

# What is coloured, by which property, and its colours in the light and in the dark. Text has a
# contrast of at least 4.5 to what is behind it, everything else that means something 3.
COLOURS = (
    ("body", "background", "#f6f7f9", "#12161b"),
    ("body,h1,h2,h3,.name", "color", "#1a2330", "#e8ecf1"),
    (".card,.sheet", "background", "#ffffff", "#1b2129"),
    (".card,.sheet", "border-color", "#d9dee5", "#323b47"),
    ("td,th", "border-color", "#e4e8ed", "#2c3540"),
    (".soft,dt,caption,thead th,footer", "color", "#566171", "#a3adba"),
    ("a", "color", "#1558b0", "#8ab8ff"),
    (".good", "color", "#17693c", "#74d19b"),
    (".fair", "color", "#865600", "#f1c355"),
    (".bad", "color", "#b3261e", "#ff9389"),
    (".dim", "color", "#566171", "#a3adba"),
    (".edge-fair", "border-left-color", "#b97a0c", "#dda52f"),
    (".edge-bad", "border-left-color", "#c9372c", "#f0665b"),
    (".fill.good,.d.within", "background", "#2f9461", "#4fb57f"),
    (".fill.fair,.d.late", "background", "#b97a0c", "#dda52f"),
    (".fill.bad,.d.past", "background", "#c9372c", "#f0665b"),
    (".d.none", "border-color", "#7d8796", "#6d7887"),
    ("svg text", "fill", "#1a2330", "#e8ecf1"),
    ("svg .soft", "fill", "#566171", "#a3adba"),
    ("svg .good.t", "fill", "#17693c", "#74d19b"),
    ("svg .fair.t", "fill", "#865600", "#f1c355"),
    ("svg .bad.t", "fill", "#b3261e", "#ff9389"),
    ("svg .dim.t", "fill", "#566171", "#a3adba"),
    ("svg .line", "stroke", "#808b9a", "#707b89"),
    ("svg .line.fair", "stroke", "#b97a0c", "#dda52f"),
    ("svg .line.bad", "stroke", "#c9372c", "#f0665b"),
    ("svg .dot", "stroke", "#ffffff", "#1b2129"),
    ("svg .dot.good", "fill", "#2f9461", "#4fb57f"),
    ("svg .dot.fair", "fill", "#b97a0c", "#dda52f"),
    ("svg .dot.bad", "fill", "#c9372c", "#f0665b"),
    ("svg .dot.dim", "fill", "#707b8a", "#8a95a3"),
)

_LAYOUT = """
*{box-sizing:border-box}
html{font-size:16px}
body{margin:0;font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",sans-serif;
-webkit-text-size-adjust:100%;overflow-wrap:anywhere}
main{max-width:58rem;margin:0 auto;padding:2rem 1rem 1.5rem}
h1{font-size:1.9rem;line-height:1.2;margin:.15rem 0 .5rem;letter-spacing:-.01em}
h2{font-size:1.1rem;margin:2rem 0 .6rem}
h3{font-size:1rem;margin:0}
p{margin:.2rem 0}
.name{font-weight:600}
.chips{margin:.8rem 0 0}
.chips span{margin-right:1.1rem;font-weight:600;white-space:nowrap}
.card,.sheet{border:1px solid;border-radius:10px;padding:.9rem 1rem}
.sheet{padding:.2rem 1rem}
.card{border-left-width:5px;min-width:0}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(26rem,100%),1fr));gap:.8rem;
align-items:start}
.card+.card,.sheet+.card{margin-top:.8rem}.grid .card{margin-top:0}
.state{font-weight:600;white-space:nowrap}
.message{font:.85rem/1.45 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;margin:.4rem 0}
dl{display:grid;grid-template-columns:4.6rem 1fr;gap:.15rem .8rem;margin:.6rem 0 0;
font-size:.92rem}
dd{margin:0}
ul{list-style:none;margin:0;padding:0}li+li{margin-top:.25rem}
table{width:100%;border-collapse:collapse;font-size:.92rem}
caption{text-align:left;font-size:.85rem;padding:.5rem 0 .2rem}
td,th{text-align:left;vertical-align:top;padding:.45rem .7rem .45rem 0;border-bottom:1px solid;
font-weight:400}
tr:last-child td,tr:last-child th{border-bottom:0}
thead th{font-size:.8rem;padding-bottom:.25rem}
td:last-child,th:last-child{padding-right:0}
td.n,th.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.age{width:38%}
.bar{display:block;height:10px;border-radius:5px;margin:.3rem 0;padding:3px 0;overflow:hidden;
background-color:rgba(128,138,150,.18)}
.card .bar{margin:.4rem 0}
.fill{display:block;height:4px;min-width:4px;border-radius:2px}
.strip{display:block;white-space:nowrap;line-height:1}
.d{display:inline-block;width:7px;height:15px;margin-right:1px;border-radius:2px}
.d.none{border:1px dotted}
.key{font-size:.85rem}.key span{white-space:nowrap;margin-right:.9rem}.key .d{margin:0 .3rem 0 0;
vertical-align:-2px}
summary{cursor:pointer;padding:.6rem 0}
figure{margin:0}
figcaption{margin:0 0 .5rem}
svg{display:block;max-width:100%;height:auto;
font:13px system-ui,-apple-system,"Segoe UI",sans-serif}
svg .name{font-weight:600}
svg .small{font-size:12px}
svg .line{fill:none;stroke-width:1.5}
svg .line.fair,svg .line.bad{stroke-width:3}
svg .line.dashed{stroke-dasharray:5 4}
svg .dot{stroke-width:2}
footer{margin-top:2rem;font-size:.8rem}
@media (min-width:40rem){.gauge{display:flex;gap:.6rem;align-items:center}
.gauge .state{flex:0 0 8.4em}.gauge .bar{flex:1}}
@media (max-width:30rem){main{padding:1.2rem .8rem}h1{font-size:1.5rem}.sheet{padding:.1rem .8rem}
.card{padding:.7rem}dl{grid-template-columns:4.2rem 1fr;gap:.1rem .5rem}
table{font-size:.84rem}td,th{padding-right:.45rem}.d{width:5px}.age{width:36%}}
@page{margin:10mm}
@media print{html{font-size:8pt}body{line-height:1.3;background:none}main{max-width:none;
padding:0}
h1{font-size:15pt;margin:0}h2{margin:.7rem 0 .2rem;break-after:avoid}.chips{margin:.2rem 0}
.card{padding:.4rem .7rem}.grid{grid-template-columns:1fr 1fr;gap:.5rem}dl{margin-top:.2rem;
gap:0 .6rem}
.sheet{padding:0 .7rem}td,th{padding-top:.12rem;padding-bottom:.12rem}caption{padding:.2rem 0}
.bar{padding:1.5px 0;height:7px}.card .bar{margin:.2rem 0}.message{margin:.2rem 0}
.card,figure,tr{break-inside:avoid}.long{columns:2;column-gap:1.5rem;font-size:.92rem}
.long .age{width:44%}.long .strip{margin-top:1px}
.d{height:9px;width:5px}figcaption p{display:inline}svg{max-height:50mm;zoom:.8}
footer{margin-top:.5rem}
.bar,.fill,.d,.card{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""

_TONES = {"green": "good", "yellow": "fair", "magenta": "bad", "red": "bad"}
# A state is never told by its colour alone.
_GLYPHS = {"good": "✓", "fair": "▲", "bad": "✕", "dim": "?"}


def stylesheet() -> str:
    """Return the style sheet; what is printed is always light."""
    light = "".join(f"{who}{{{what}:{colour}}}" for who, what, colour, _ in COLOURS)
    dark = "".join(f"{who}{{{what}:{colour}}}" for who, what, _, colour in COLOURS)
    return f"{_LAYOUT.strip()}\n{light}\n@media screen and (prefers-color-scheme:dark){{{dark}}}"


def tone_of(state: str) -> str:
    """Return how a state looks: ``good``, ``fair``, ``bad``, or ``dim`` for what is unknown."""
    if state in {"", UNKNOWN} or state not in set(State):
        return "dim"
    return _TONES[STATES[State(state)].colour]


def glyph_of(state: str) -> str:
    """Return the sign that tells a state without its colour."""
    return _GLYPHS[tone_of(state)]
