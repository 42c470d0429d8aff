"""Bad input of --model CoNRec: as bad_input.py, on a planted world in {base}/p with vectors of its items beside it."""

import json

import numpy as np
import synthetic
from bad_input import Case, both, edit

P = "--model CoNRec --dataset {base}/p"
VECTORS = f"{P} --conrec_embeddings {{base}}/v.npz"
SMALL = {"n_users": 12, "n_items": 90, "n_events": 30}


def planted(base):
    synthetic.write_planted_world(base / "p", **SMALL)
    synthetic.write_planted_vectors(base / "v.npz", n_items=SMALL["n_items"])


def spoiled(*spoils):
    return both(planted, *spoils)


def inter(change):
    """change(rows of cells) of p.inter, the header left out."""

    def spoil(base):
        path = base / "p" / "p.inter"
        header, *rows = path.read_text().splitlines()
        rows = change([row.split("\t") for row in rows])
        path.write_text("\n".join([header, *map("\t".join, rows)]) + "\n")

    return spoil


def keep_early_dislikes(rows):
    """Each user's rows in order, of which the first 18 of 30 are train."""
    return [[*row[:2], "5", row[3]] if place % SMALL["n_events"] >= 18 else row for place, row in enumerate(rows)]


def vectors(**change):
    """v.npz with arrays replaced by change(array)."""

    def spoil(base):
        arrays = dict(np.load(base / "v.npz"))
        for name, how in change.items():
            arrays[name] = how(arrays[name])
        np.savez(base / "v.npz", **arrays)

    return spoil


def not_a_number(array):
    array = array.copy()
    array[3, 1] = np.nan
    return array


def causal_model(base):
    (base / "causal").mkdir()
    (base / "causal" / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"]}))
    (base / "causal" / "model.safetensors").write_bytes(b"")


CASES_OF_DISLIKES = {
    # ------------------------------------------------------------------------------------------------------ events
    "no times": Case(r"x\.inter: has no column timestamp", "--model CoNRec"),
    "a time that is none": Case(
        r"p\.inter, line 2: time 'noon' is neither a number nor a date", P,
        spoiled(edit("p/p.inter", "\t1000000\n", "\tnoon\n")),
    ),
    "times that are all the same": Case(
        r"p\.inter: all timestamps are 7; if each user's rows lie in order", P,
        spoiled(inter(lambda rows: [[*row[:3], "7"] for row in rows])),
    ),
    "dislikes without titles": Case(
        r"p: has no \.item file; CoNRec needs the titles", P,
        spoiled(lambda base: (base / "p" / "p.item").unlink()),
    ),
    "an item file without titles": Case(
        r"p\.item: has no column title", P, spoiled(edit("p/p.item", "movie_title:token_seq", "label:token_seq"))
    ),
    "nobody dislikes anything": Case(
        r"p\.inter: no user has two ratings up to 2 .* --conrec_negative", P,
        spoiled(inter(lambda rows: [[*row[:2], "4", row[3]] for row in rows])),
    ),
    "no dislike to choose by": Case(
        r"p: no user has a dislike in the validation part and one before it", P, spoiled(inter(keep_early_dislikes)),
    ),
    "a longer list than items": Case(
        r"--top_k 70: p has 90 items with a title, and a user has rated 30 of them", f"{P} --top_k 70", planted
    ),
    "half stars among dislikes": Case(
        r"p\.inter, line 2: rating '2\.5'", P, spoiled(inter(lambda rows: [[*rows[0][:2], "2.5", rows[0][3]], *rows]))
    ),
    # ----------------------------------------------------------------------------------------- IDs and their models
    "too few codes": Case(r"--conrec_codes 4: .*64.* 90 items", f"{VECTORS} --conrec_codes 4", planted),
    "an encoder as backbone": Case(
        r"--llm .*llm: is an encoder; CoNRec needs a causal", f"{VECTORS} --llm {{llm}}", planted
    ),
    "a causal model as encoder": Case(
        r"--conrec_encoder .*causal: is a causal language model", f"{P} --conrec_encoder {{base}}/causal",
        spoiled(causal_model),
    ),
    "an encoder without weights": Case(
        r"--conrec_encoder .*p: the folder has no \.safetensors", f"{P} --conrec_encoder {{base}}/p", planted
    ),
    "vectors under another name": Case(
        r"v\.npz: is no \.npz with the arrays item_id and embedding", VECTORS,
        spoiled(lambda base: np.savez(base / "v.npz", vectors=np.zeros(3))),
    ),
    "item vectors of another length": Case(
        r"v\.npz: has item_id \(89,\) and embedding \(90, 24\)", VECTORS,
        spoiled(vectors(item_id=lambda array: array[1:])),
    ),
    "vectors with pickles": Case(
        r"v\.npz: is no \.npz with .* without pickled objects", VECTORS,
        spoiled(vectors(embedding=lambda array: array.astype(object))),
    ),
    "vectors of other items": Case(
        r"v\.npz: has no vector for 90 of the 90 items, such as i0", VECTORS,
        spoiled(vectors(item_id=lambda array: np.char.add("x", array))),
    ),
    "item vectors that are no numbers": Case(
        r"v\.npz: the vector of item i3 holds what is no finite number", VECTORS,
        spoiled(vectors(embedding=not_a_number)),
    ),
    # ------------------------------------------------------------------------------------------------------- flags
    "stages in another order": Case(
        r"must keep the order translation", f"{P} --conrec_stages warmup alignment", planted
    ),
    "dislikes of a refined split": Case(
        r"--dataset_augment: CoNRec has no use", f"{P} --dataset_augment augment", planted
    ),
}  # fmt: skip
