"""What each stage learns: a batch for each step, and its loss.  What steps.py asks of a task is written there.

    Translation     the title of an ID, and the ID of a title
    Alignment       which of these items a user disliked, of whom nothing else is known
    Stream          the item of every train event, given its sign and the events before it (StreamInWords: by --llm)
    Warmup          the next dislike alone
    Grpo            what the reward likes, of what the policy samples
"""

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from conrec.data.events import DISLIKE, signs_of
from conrec.data.instances import by_user, history, instances, matrix
from conrec.decoder import prompts
from conrec.decoder.policy import padded
from conrec.learning import grpo, reward
from conrec.results import metrics
from preparation.rules import TRAIN

ROWS = 32  # examples of a step by supervision
N_OPTIONS, MOST_OPTIONS, LONG_SHARE = 4, 20, 0.25  # of an alignment question; how many have 5 to 20 options
OFTEN, LESS_OFTEN, ENOUGH = 4, 2, 1000  # dislikes of a topic; and where the first rule leaves too few samples
SKIPPED = 0.1  # share of a warmup row's items that are left out
THINNED = 0.7  # the most of a stream row's events that are left out
EVENT = 4  # tokens of the tiny decoder: a sign and three codes
IGNORED = -100  # no answer token
TASKS_VERSION = 5  # raise it when batches or losses change, so that stages made with others are made anew


class Supervised:
    """Cross-entropy of the answers' tokens.  An example is (tokens of the prompt, tokens of the answer)."""

    every, patience, dropout = 50, None, True

    def __init__(self, policy):
        self.policy, self.backbone = policy, policy.backbone
        self.given = set() if self.backbone.words else set(self.backbone.tokens(prompts.SIGNS))

    def weight(self, example):
        return len(example[1]) - sum(token in self.given for token in example[1])

    def size(self, example):
        return len(example[0]) + len(example[1])

    def loss(self, examples):
        rows = [prompt + answer[:-1] for prompt, answer in examples]
        longest = max(len(answer) for _, answer in examples)
        logits = self.backbone.logits(rows, longest)  # (B, longest, V)
        targets = torch.full(logits.shape[:2], IGNORED)
        for row, (_, answer) in enumerate(examples):
            # a sign is given, not learned
            learned = [IGNORED if token in self.given else token for token in answer]
            targets[row, longest - len(answer) :] = torch.tensor(learned)
        targets = targets.to(logits.device)
        return cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED), {}

    def validate(self):
        return {}, None

    def example(self, prompt, answer):
        """Of a prompt and an answer in parts; of an answer that is too long the beginning."""
        tokens, answer = self.backbone.tokens(prompt), self.backbone.answer(answer)
        room = self.backbone.context - len(tokens)
        return tokens, answer[: max(room, 1)]


class Translation(Supervised):
    def __init__(self, policy, catalog):
        super().__init__(policy)
        self.titles = catalog.titles

    def batch(self, random):
        examples = []
        for item in random.integers(len(self.titles), size=ROWS):
            to_title, template = bool(random.integers(2)), self.policy.draw_template(random)
            parts = prompts.translation(item, self.titles[item], to_title, **self.policy.words, template=template)
            examples.append(self.example(*parts))
        return examples


class Alignment(Supervised):
    """A train dislike of a topic, the first code, that the user dislikes often, among things that the user likes."""

    def __init__(self, policy, catalog, log=print):
        super().__init__(policy)
        self.liked = matrix(policy.events, "positive")
        negatives = matrix(policy.events, "negative").tocoo()
        users, items = negatives.row.astype(np.int64), negatives.col.astype(np.int64)
        topics = users * catalog.K + catalog.codes[items, 0]  # a number for each user's first codes
        often = np.bincount(topics)[topics]
        can_ask = np.diff(self.liked.indptr)[users] >= N_OPTIONS - 1
        least = OFTEN if ((often >= OFTEN) & can_ask).sum() >= ENOUGH else LESS_OFTEN
        kept = (often >= least) & can_ask
        if not kept.any():
            least, kept = 1, can_ask
        self.pairs = np.stack((users, items), 1)[kept]
        log(f"alignment: {kept.sum()} dislikes of a topic disliked at least {least} times")

    def batch(self, random):
        examples = []
        for row in random.integers(len(self.pairs), size=ROWS):
            user, item = self.pairs[row]
            liked = self.liked[user].indices
            n_others = N_OPTIONS - 1
            if random.random() < LONG_SHARE:
                n_others = min(int(random.integers(N_OPTIONS, MOST_OPTIONS)), len(liked))
            options = np.append(random.choice(liked, n_others, replace=False), item)
            template, shuffled = self.policy.draw_template(random), random.permutation(options)
            parts = prompts.alignment(shuffled, item, **self.policy.words, template=template)
            examples.append(self.example(*parts))
        return examples


class Predicting(Supervised):
    """What the streams and Warmup have in common.  .context: what is shown, also in validation."""

    every = 100

    def __init__(self, policy, validation):
        super().__init__(policy)
        self.validation = validation
        self.room = (self.backbone.context - 1) // EVENT  # events of the tiny decoder's row

    def batch(self, random):
        return [self.draw(random) for _ in range(ROWS)]

    def ask(self, user, p, sign, random):
        """The example that asks for the item of the user's event at position p."""
        item = self.policy.events.items[self.policy.events.first[user] + p]
        template = self.policy.draw_template(random)
        prompt = self.policy.sequence(user, p, self.context, template, asked=sign)
        return prompt, self.backbone.answer([int(item)])

    def row_of(self, items, signs):
        """The tiny decoder's example that learns all of these items, at most .room."""
        return self.backbone.tokens([prompts.BOS]), self.backbone.answer(prompts.row_of(items, signs))

    def validate(self):
        return self.validation(self.context)


class StreamInWords(Predicting):
    """The item of a train event, given its sign and the events before it: asked of a language model."""

    context = "both"
    patience = None  # it is still getting better where the rate nears 0

    def __init__(self, policy, validation):
        super().__init__(policy, validation)
        self.rows = StreamRows(policy.events, policy.shown[1], THINNED)

    def draw(self, random):
        return self.ask(*self.rows.draw_event(random), random)


class Stream(StreamInWords):
    """The same by the tiny decoder, for all events of a row at once.

    An example is a row's (items, signs).  A code is chosen as it will be decoded: among those that lead to an item
    which does not stand earlier in the row.
    """

    def draw(self, random):
        items, signs = self.rows.draw(random)
        return items[-self.room :], signs[-self.room :]

    def weight(self, row):
        return len(row[0])

    def size(self, row):
        return 1 + EVENT * len(row[0])

    def loss(self, rows):
        """Mean negative log-probability of the codes (scalar)."""
        backbone, trie = self.backbone, self.policy.trie
        items = np.full((len(rows), max(len(items) for items, _ in rows)), -1)
        for place, (row, _) in enumerate(rows):
            items[place, -len(row) :] = row  # on the right, as the decoder has them
        asked = torch.from_numpy(items >= 0).to(backbone.device)  # (B, n)
        path, codes = torch.from_numpy(trie.path).to(backbone.device)[items], backbone.codes[items]  # (B, n, 3)
        tokens = [prompt + answer[:-1] for prompt, answer in (self.row_of(*row) for row in rows)]
        logits = backbone.code_logits(tokens, EVENT * items.shape[1]).unflatten(1, (-1, EVENT))  # (B, n, 4, 3 K)
        nodes, total = torch.zeros_like(path[..., 0]), 0.0
        for level, of_level in enumerate(logits[:, :, 1:].split(trie.K, dim=-1)):
            open_ = trie.open_children(nodes, codes[..., level], asked)  # (B, n, K)
            logprobs = of_level[:, :, level].masked_fill(~open_, -torch.inf).log_softmax(-1)  # (B, n, K)
            total = total - logprobs.gather(-1, codes[..., level : level + 1]).squeeze(-1)[asked].sum()
            nodes = path[..., level]
        return total / (codes.shape[-1] * asked.sum()), {}


class StreamRows:
    """Train events in order, to learn every next item from.

    A row is a window that may reach beyond a user's train part, where it is cut: so the last events, which lie nearest
    to what is to be predicted, are learned as often as any other.  Of each row a random share of the events, up to
    `thinned`, is left out, and earlier ones come in for them: so a row hardly ever comes twice, and what is learned is
    what comes soon, not only what comes next.
    """

    def __init__(self, events, shown, thinned):
        """shown: the most events that stand before one.  thinned: the most of a row's events that are left out."""
        self.events, self.shown, self.thinned = events, shown, thinned
        self.signs = signs_of(events.ratings, events.negative)
        self.train = np.flatnonzero((events.parts == TRAIN) & (events.positions > 0))  # rows of events with a history
        ends = np.where(events.cuts[:, 0] > 1, events.cuts[:, 0] + shown - 2, 0)  # (U,) windows of two events or more
        self.windows = np.concatenate(([0], ends.cumsum()))  # of user u: windows[u] .. windows[u + 1] - 1

    def draw(self, random):
        """(items, signs) of two to shown + 1 events, oldest first."""
        window, share = random.integers(self.windows[-1]), self.thinned * random.random()
        user = np.searchsorted(self.windows, window, side="right") - 1
        end = window - self.windows[user] + 1
        places = np.arange(max(end - int(self.shown / (1 - share)), 0), min(end + 1, self.events.cuts[user, 0]))
        kept = places[random.random(len(places)) >= share]
        rows = self.events.first[user] + (kept if len(kept) > 1 else places[-2:])[-self.shown - 1 :]
        return self.events.items[rows], self.signs[rows]

    def draw_event(self, random):
        """(user, position, sign) of an event."""
        row = self.train[random.integers(len(self.train))]
        return self.events.users[row], self.events.positions[row], self.signs[row]


class Warmup(Predicting):
    """The next dislike, where dislikes alone are shown.  The tiny decoder learns every item of a row at once."""

    context, patience = "negatives", 3

    def __init__(self, policy, validation):
        super().__init__(policy, validation)
        events = policy.events
        self.anchors = instances(events, "train", every=True)
        negatives = by_user(events, events.is_negative & (events.parts == TRAIN))
        self.rows = [items for items in negatives if len(items) > 1]

    def draw(self, random):
        """In words an instance; else a user's train negatives from a random start, a tenth of them left out."""
        if self.backbone.words:
            users, positions = self.anchors
            row = int(random.integers(len(users)))
            return self.ask(users[row], positions[row], DISLIKE, random)
        items = self.rows[random.integers(len(self.rows))]
        begin = int(random.integers(len(items) - 1))
        items = items[begin : begin + self.policy.shown[0] + 1]
        kept = items[random.random(len(items)) >= SKIPPED]
        if len(kept):
            items = kept
        items = items[-self.room :]
        return self.row_of(items, np.full(len(items), DISLIKE))


class Grpo:
    """An example is (tokens of the prompt, row of the targets, draws (G, 3) of the samples)."""

    every, patience, dropout = 50, None, False

    def __init__(self, policy, catalog, context, validation, options):
        self.policy, self.backbone, self.context, self.validation = policy, policy.backbone, context, validation
        self.options, device = options, self.backbone.device
        self.users, self.positions = instances(policy.events, "train", every=True)
        neighbours = reward.swing(matrix(policy.events, "negative"))
        targets = reward.target_sets(policy.events, self.users, self.positions, neighbours)
        self.gts, self.fps = (torch.from_numpy(padded(sets)).to(device) for sets in targets)  # (instances, T), (.., F)
        if options.conrec_reward == "next":
            self.gts = self.gts[:, :1]
        self.E = torch.from_numpy(catalog.E).to(device)
        self.backbone.keep_reference()

    def batch(self, random):
        examples, n_prompts = [], min(self.options.conrec_prompts, len(self.users))
        for row in random.choice(len(self.users), n_prompts, replace=False):
            template = self.policy.draw_template(random)
            draws = random.random((self.options.conrec_group, 3))
            prompt = self.policy.sequence(self.users[row], self.positions[row], self.context, template)
            examples.append((prompt, row, draws))
        return examples

    def weight(self, example):
        return 1

    def size(self, example):
        return len(example[0]) + 3 * self.options.conrec_group

    def loss(self, examples):
        asked, rows, draws = map(list, zip(*examples, strict=True))
        trie, kind, gamma = self.policy.trie, self.options.conrec_reward, self.options.conrec_gamma
        moments = zip(self.users[rows], self.positions[rows], strict=True)
        closed = trie.closed([history(self.policy.events, user, p)[0] for user, p in moments])  # (B, N)
        with torch.no_grad():
            items, entropy = grpo.rollout(self.backbone, trie, asked, np.stack(draws), closed)
            gts, fps, codes = self.gts[rows], self.fps[rows], self.backbone.codes
            worth = reward.rewards(items, gts, fps, self.E, kind, gamma, codes)  # each (B, G)
            advantages, same = grpo.advantages(worth.r)
            with self.backbone.reference():
                reference = self.backbone.branch(asked, items, trie, closed)  # (B, G, 3)
        logprobs = self.backbone.branch(asked, items, trie, closed)  # (B, G, 3)
        loss, kl = grpo.loss(logprobs, reference, advantages, self.options.conrec_beta)
        figures = {"reward": worth.r, "n": worth.n, "p": worth.p}
        figures |= {"zero_std": same, "kl": kl, "entropy": entropy}
        figures = {name: value.float().mean().item() for name, value in figures.items()}
        return loss, figures | {"distinct": float(np.mean([len(group.unique()) for group in items]))}

    def validate(self):
        return self.validation.by_halves(self.context)


class Validation:
    """FHR@20 on the validation instances; ties are decided by FRecall@20."""

    def __init__(self, policy, truth):
        self.policy, self.truth = policy, truth

    def of_users(self, context):
        lists, _ = self.policy.predict(self.truth.users, self.truth.positions, context)
        figures = metrics.measure_lists(lists, self.truth, (20,))
        return {name: figures[name] for name in ("fhr@20", "frecall@20")}

    def __call__(self, context):
        """(figures, score) of all users."""
        figures = metrics.means(self.of_users(context))
        return figures, tuple(figures.values())

    def by_halves(self, context):
        """(figures, score): the score is of every other user alone, and figures["confirm"] the FHR@20 of the rest, in
        whom a gain must show, too: the best of several noisy validations is partly luck."""
        found, chosen = self.of_users(context), np.arange(len(self.truth.users)) % 2 == 0
        figures = metrics.means(found) | {"confirm": float(found["fhr@20"][~chosen].mean())}
        return figures, tuple(float(values[chosen].mean()) for values in found.values())
