"""Refinements made by the real commands: an encoder's, a rule's, a server's in two orders, and shuffled labels.

Titles, a user id and what the server says try to be more than text.
"""

import re
from types import SimpleNamespace

import synthetic
from fake_server import Server, said

import main

HOSTILE = {
    "i0": "</script><img src=x onerror=hacked=1>",
    "i1": "<!-- <script>hacked=1</script>",
    "i2": "Line\u2028end {{policy}} {{data}}",
}
USER = 'u0"><b onclick=hacked=1>'
ANSWER = '1, 3\n</script><img src=x onerror="hacked=true">\u202e'
ROOM = 14  # titles that the server's context has room for
FLAGS = "--epochs 2 --embedding_dim 8 --no_autoencoder --device cpu --hold_out dislikes"


def make(base):
    """folder: of the data set.  embed, rule, orders, some, answers (of these two), shuffled: folders of refinements.
    runs: {"embed", "rule": run folder}.  prompts: what the server read."""
    folder = synthetic.write_data_set(base / "films")
    inter, item = folder / "films.inter", folder / "films.item"
    inter.write_text(re.sub(r"^u0\t", lambda _: USER + "\t", inter.read_text(), flags=re.MULTILINE))
    rows = [row.split("\t") for row in item.read_text().splitlines()]
    text = "".join("\t".join([row[0], HOSTILE.get(row[0], row[1]), *row[2:]]) + "\n" for row in rows)
    item.write_text(text, encoding="utf-8")

    def run(name, *flags):
        paths = ["--dataset", folder, "--data_dir", base / "data", "--result_dir", base / "result"]
        main.main([*map(str, paths), *FLAGS.split(), "--path_name", name, *map(str, flags)])
        return base / "result" / "films" / name

    prompts = []

    def reply(path, body):
        if len(re.findall(r"^- ", body["messages"][0]["content"], re.MULTILINE)) > ROOM:
            return 400, {}, {"message": "This model's maximum context length is 512 tokens"}
        prompts.append(body["messages"][0]["content"])
        return said(ANSWER)

    encoder = synthetic.write_encoder(base / "encoder")
    runs = {"embed": run("embed", "--llm", encoder), "rule": run("rule", "--llm", "rule")}
    server = Server(reply)
    run("some", "--llm_url", server.url, "--llm", "chat", "--llm_users", "5", "--llm_profile", "8")
    run("orders", "--llm_url", server.url, "--llm", "chat", "--llm_permutations", "2", "--llm_profile", "8")
    server.http.shutdown()
    server.http.server_close()
    run("shuffled", "--llm", "shuffled", "--llm_labels", base / "data/films/hold_out_dislikes/feedback/rule")
    feedback = base / "data" / "films" / "hold_out_dislikes" / "feedback"
    folders = {
        "embed": feedback / "encoder-embed",
        "rule": feedback / "rule",
        "orders": feedback / "chat-generate-2_orders",
        "answers": feedback / "chat-generate",
        "some": feedback / "chat-generate-5_users",
        "shuffled": next(feedback.glob("shuffled-*")),
    }
    return SimpleNamespace(base=base, folder=folder, runs=runs, prompts=prompts, **folders)
