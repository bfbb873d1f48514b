# SPDX-License-Identifier: Apache-2.0
"""Trains the tiny LFM2-MoE on generated text and writes it as a Hugging Face folder.

python train.py --steps 1600 [--threads 2] [--state FILE]     the state file lets a stopped training go on

The forward pass is written out here because Transformers walks through the experts one by one; verify.py holds the
result to Transformers' own class. All experts are computed for all tokens and most are multiplied with zero: at this
size that is faster than sorting tokens. Matrices are trained with Muon, everything else with Adam.
"""
import argparse
import concurrent.futures
import json
import os
import random
import time

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

import generate
import tokenizer

CONFIG = {
    "architectures": ["Lfm2MoeForCausalLM"], "bos_token_id": tokenizer.BOS, "conv_L_cache": 3, "conv_bias": False,
    "dtype": "bfloat16", "eos_token_id": tokenizer.EOS, "hidden_size": 256, "initializer_range": 0.02,
    "intermediate_size": 256, "layer_types": ["conv", "full_attention", "conv", "full_attention", "full_attention"],
    "max_position_embeddings": 2048, "model_type": "lfm2_moe", "moe_intermediate_size": 128, "norm_eps": 1e-05,
    "norm_topk_prob": True, "num_attention_heads": 4, "num_dense_layers": 2, "num_experts": 8,
    "num_experts_per_tok": 4, "num_hidden_layers": 5, "num_key_value_heads": 1, "pad_token_id": tokenizer.PAD,
    "rope_theta": 10000.0, "routed_scaling_factor": 1.0, "tie_word_embeddings": True, "use_cache": True,
    "use_expert_bias": True, "vocab_size": tokenizer.VOCABULARY,
}
D, E, K, FF = (CONFIG[k] for k in ("hidden_size", "num_experts", "num_experts_per_tok", "moe_intermediate_size"))
HEADS, KV, EPS = (CONFIG[k] for k in ("num_attention_heads", "num_key_value_heads", "norm_eps"))
HEAD = D // HEADS
# Rows and their length: short ones while the rate is level, then some that hold five shots and a question.
SHORT, LONG, PARTS = (12, 256), (8, 384), 4
PRECISION = torch.bfloat16  # of the matrix products
DECAY = 0.4  # the part of the steps in which the learning rate falls
BIAS_STEP = 2e-3


# --- data ----------------------------------------------------------------------------------------------------
class Stream:
    """Rows of ids with a weight for each. A step's rows depend on its number and their shape only."""

    def __init__(self, t):
        self.t = t
        self.gap = t.encode("\n\n\n", add_special_tokens=False).ids

    def encode(self, doc):
        text = "".join(s for s, _ in doc)
        weight = [w for s, w in doc for _ in s]
        e = self.t.encode(text, add_special_tokens=False)
        return e.ids, [weight[end - 1] for _, end in e.offsets]

    def row(self, r, length):
        kinds = generate.KINDS
        as_text = r.random() < 0.4  # documents with empty lines between them, as in a text file
        if as_text:
            kinds = [(k, n) for k, n in kinds if k is not generate.doc_chat]
        ids, weights = [tokenizer.BOS], [0.0]
        while len(ids) <= length:
            i, w = self.encode(generate.document(r, kinds))
            end = self.gap if as_text else [tokenizer.EOS, tokenizer.BOS]
            ids += i + end
            weights += w + ([1.0] * len(end) if as_text else [1.0, 0.0])
        return ids[:length + 1], weights[:length + 1]

    def batch(self, step, shape):
        r = random.Random(f"{generate.SEED}/{step}")
        rows = [self.row(r, shape[1]) for _ in range(shape[0])]
        return torch.tensor([i for i, _ in rows]), torch.tensor([w for _, w in rows])


# --- model ---------------------------------------------------------------------------------------------------
def make_weights(seed):
    g = torch.Generator().manual_seed(seed)
    w = {"model.embed_tokens.weight": torch.randn(CONFIG["vocab_size"], D, generator=g) * 0.05,
         "model.embedding_norm.weight": torch.ones(D)}

    def matrix(name, *shape):
        w[name] = torch.randn(*shape, generator=g) * 0.5 * shape[-1] ** -0.5

    for n, kind in enumerate(CONFIG["layer_types"]):
        p = f"model.layers.{n}."
        w[p + "operator_norm.weight"] = torch.ones(D)
        w[p + "ffn_norm.weight"] = torch.ones(D)
        if kind == "conv":
            matrix(p + "conv.in_proj.weight", 3 * D, D)
            matrix(p + "conv.out_proj.weight", D, D)
            w[p + "conv.conv.weight"] = torch.randn(D, 1, 3, generator=g) * 0.5
        else:
            for name, rows in (("q_proj", D), ("k_proj", KV * HEAD), ("v_proj", KV * HEAD), ("out_proj", D)):
                matrix(p + f"self_attn.{name}.weight", rows, D)
            for name in ("q_layernorm", "k_layernorm"):
                w[p + f"self_attn.{name}.weight"] = torch.ones(HEAD)
        if n < CONFIG["num_dense_layers"]:
            for name in ("w1", "w3"):
                matrix(p + f"feed_forward.{name}.weight", CONFIG["intermediate_size"], D)
            matrix(p + "feed_forward.w2.weight", D, CONFIG["intermediate_size"])
        else:
            matrix(p + "feed_forward.gate.weight", E, D)
            matrix(p + "feed_forward.experts.gate_up_proj", E, 2 * FF, D)
            matrix(p + "feed_forward.experts.down_proj", E, D, FF)
            w[p + "feed_forward.expert_bias"] = torch.zeros(E)
    return w


def linear(x, weight):
    return F.linear(x.to(PRECISION), weight.to(PRECISION))


class Norm(torch.autograd.Function):
    """RMSNorm in float32, with fewer passes over the memory than the derived gradient takes."""

    @staticmethod
    def forward(ctx, x, weight):
        r = torch.rsqrt(x.square().mean(-1, keepdim=True) + EPS)
        ctx.save_for_backward(x, weight, r)
        return (x * r).mul_(weight)

    @staticmethod
    def backward(ctx, g):
        x, weight, r = ctx.saved_tensors
        n = x * r
        gn = g * n
        dx = (g * weight).addcmul_(n, (gn @ weight).unsqueeze(-1), value=-1 / x.shape[-1]).mul_(r)
        return dx, gn.flatten(0, -2).sum(0)


def norm(x, weight):
    return Norm.apply(x.float(), weight)


def conv(w, p, x):
    b, c, x = linear(x, w[p + "conv.in_proj.weight"]).chunk(3, dim=-1)
    x = F.pad(b * x, (0, 0, 2, 0))
    taps = w[p + "conv.conv.weight"].to(PRECISION)
    n = x.shape[1] - 2
    y = sum(x[:, i:i + n] * taps[:, 0, i] for i in range(3))
    return linear(c * y, w[p + "conv.out_proj.weight"])


def rotate(x, cos, sin):
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1)


def attention(w, p, x, cos, sin):
    p += "self_attn."
    rows, length, _ = x.shape

    def heads(name, n):
        return linear(x, w[p + name]).view(rows, length, n, HEAD).transpose(1, 2)

    q = rotate(norm(heads("q_proj.weight", HEADS), w[p + "q_layernorm.weight"]), cos, sin).to(PRECISION)
    k = rotate(norm(heads("k_proj.weight", KV), w[p + "k_layernorm.weight"]), cos, sin).to(PRECISION)
    v = heads("v_proj.weight", KV)
    k, v = (t.repeat_interleave(HEADS // KV, dim=1) for t in (k, v))
    y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return linear(y.transpose(1, 2).reshape(rows, length, D), w[p + "out_proj.weight"])


def dense(w, p, x):
    return linear(F.silu(linear(x, w[p + "w1.weight"])) * linear(x, w[p + "w3.weight"]), w[p + "w2.weight"])


def experts(w, p, x, load):
    scores = F.linear(x, w[p + "gate.weight"]).sigmoid()  # float32: this decides
    chosen = (scores + w[p + "expert_bias"]).topk(K, dim=-1).indices
    mask = torch.zeros_like(scores).scatter_(-1, chosen, 1.0)
    share = scores * mask
    share = share / (share.sum(-1, keepdim=True) + 1e-6)
    load[p] = mask.flatten(0, -2).mean(0)
    both = w[p + "experts.gate_up_proj"]
    gate = linear(x, both[:, :FF].reshape(E * FF, D))
    up = linear(x, both[:, FF:].reshape(E * FF, D))
    h = (F.silu(gate) * up).unflatten(-1, (E, FF)) * share.to(PRECISION).unsqueeze(-1)
    return linear(h.flatten(-2), w[p + "experts.down_proj"].transpose(0, 1).reshape(D, E * FF).contiguous())


def forward(w, ids):
    """Logits of every position, and how often each expert was taken in each layer."""
    load = {}
    position = torch.arange(ids.shape[1], dtype=torch.float32)
    angle = position[:, None] * CONFIG["rope_theta"] ** (-torch.arange(0, HEAD, 2) / HEAD)
    cos, sin = angle.cos(), angle.sin()
    h = F.embedding(ids, w["model.embed_tokens.weight"])
    for n, kind in enumerate(CONFIG["layer_types"]):
        p = f"model.layers.{n}."
        x = norm(h, w[p + "operator_norm.weight"])
        h = h + (conv(w, p, x) if kind == "conv" else attention(w, p, x, cos, sin))
        x = norm(h, w[p + "ffn_norm.weight"])
        p += "feed_forward."
        h = h + (dense(w, p, x) if n < CONFIG["num_dense_layers"] else experts(w, p, x, load))
    return linear(norm(h, w["model.embedding_norm.weight"]), w["model.embed_tokens.weight"]).float(), load


# --- optimiser -----------------------------------------------------------------------------------------------
def orthogonal(g):
    """Newton-Schulz towards the nearest orthogonal matrix, for a batch of wide matrices."""
    x = g.to(torch.bfloat16)
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(5):
        a = x @ x.mT
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return x.float()


def is_matrix(name):
    return name.endswith(("_proj.weight", "gate_up_proj", "down_proj", "w1.weight", "w2.weight", "w3.weight"))


class Optimizer:
    def __init__(self, w, lr_matrix=0.02, lr_other=4e-3):
        self.w, self.lr, self.momentum = w, lr_matrix, {}
        self.matrices = [n for n in w if is_matrix(n)]
        others = [w[n] for n in w if not is_matrix(n) and not n.endswith("expert_bias")]
        self.lr_other = lr_other
        self.adam = torch.optim.AdamW(others, lr=lr_other, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.0, fused=True)

    @torch.no_grad()
    def step(self, scale):
        for group in self.adam.param_groups:
            group["lr"] = self.lr_other * scale
        self.adam.step()
        batches = {}
        for n in self.matrices:
            g = self.w[n].grad
            m = self.momentum.setdefault(n, torch.zeros_like(g))
            m.lerp_(g, 0.05)
            update, target = g.lerp(m, 0.95), self.w[n]
            if target.dim() == 2:
                update, target = update.unsqueeze(0), target.unsqueeze(0)
            if "in_proj" in n or "gate_up" in n:  # several matrices in one
                size = (-1, D if "in_proj" in n else FF, D)
                update, target = update.reshape(size), target.view(size)
            if update.shape[-2] > update.shape[-1]:
                update, target = update.mT, target.mT
            batches.setdefault(tuple(update.shape[-2:]), []).append((update, target))
        for parts in batches.values():
            updates = orthogonal(torch.cat([u for u, _ in parts])).split([len(u) for u, _ in parts])
            for u, (_, target) in zip(updates, parts):
                target.sub_(u, alpha=self.lr * scale)
        for t in self.w.values():
            t.grad = None

    def state(self):
        return {"momentum": self.momentum, "adam": self.adam.state_dict()}

    def restore(self, state):
        self.momentum = state["momentum"]
        self.adam.load_state_dict(state["adam"])


def schedule(step, steps):
    return min((step + 1) / 20, 1.0, (steps - step) / (DECAY * steps))


def shape_of(step, steps):
    return SHORT if step < (1 - DECAY) * steps else LONG


# --- training ------------------------------------------------------------------------------------------------
def part_step(w, ids, weight, total):
    """Gradients of a part of the rows, and what was seen on the way. Runs in a thread of its own."""
    logits, load = forward(w, ids[:, :-1])
    target, weight = ids[:, 1:], weight[:, 1:]
    loss = (F.cross_entropy(logits.flatten(0, 1), target.flatten(), reduction="none") * weight.flatten()).sum() / total
    grads = torch.autograd.grad(loss, [p for p in w.values() if p.requires_grad])
    right, hits = logits.argmax(-1) == target, []
    for kind in (generate.STEPS, generate.LETTER):
        hits += [(weight == kind).sum().item(), (right & (weight == kind)).sum().item()]
    return grads, [loss.item()] + hits, {p: l.detach() for p, l in load.items()}


def train_step(w, optimizer, pool, ids, weight, scale):
    total = weight[:, 1:].sum()
    half = {n: p.detach().to(PRECISION if is_matrix(n) else p.dtype).requires_grad_(p.requires_grad)
            for n, p in w.items()}  # rounded once for all parts
    parts = list(pool.map(lambda x: part_step(half, *x, total), zip(ids.chunk(PARTS), weight.chunk(PARTS))))
    learned = [p for p in w.values() if p.requires_grad]
    for p, *grads in zip(learned, *(g for g, _, _ in parts)):
        p.grad = sum((g.float() for g in grads[1:]), grads[0].float())
    optimizer.step(scale)
    for p in parts[0][2]:  # experts that are taken too often become less attractive; no gradient involved
        load = sum(l[p] for _, _, l in parts) / PARTS / K
        w[p + "expert_bias"].data += BIAS_STEP * scale * torch.sign(1 / E - load)
    worst = max(max(l.values(), key=lambda x: x.max()).max().item() * E / K for _, _, l in parts)
    return torch.tensor([s for _, s, _ in parts]).sum(0), worst


def train(a):
    torch.set_num_threads(1)  # each thread works on rows of its own: that waits less on a busy machine
    pool = concurrent.futures.ThreadPoolExecutor(a.threads)
    t = tokenizer.train()
    stream, w = Stream(t), make_weights(a.seed)
    for name, p in w.items():
        p.requires_grad_(not name.endswith("expert_bias"))
    optimizer = Optimizer(w)
    first, wall, cpu = 0, 0.0, 0.0
    if a.state and os.path.exists(a.state):
        saved = torch.load(a.state)
        for name, p in saved["weights"].items():
            w[name].data.copy_(p)
        optimizer.restore(saved["optimizer"])
        first, wall, cpu = saved["step"], saved["wall"], saved["cpu"]
    wall, cpu = time.time() - wall, time.process_time() - cpu
    seen, worst = torch.zeros(5), 0.0
    for step in range(first, a.steps):
        batch = stream.batch(step, shape_of(step, a.steps))
        s, worst = train_step(w, optimizer, pool, *batch, schedule(step, a.steps))
        seen += s
        if step % 20 == 19:
            loss, n1, k1, n2, k2 = seen.tolist()
            print(f"step {step + 1}/{a.steps} loss {loss / 20:.3f} steps {k1 / n1:.3f} letter {k2 / n2:.3f} load "
                  f"{worst:.2f} wall {time.time() - wall:.0f}s cpu {time.process_time() - cpu:.0f}s", flush=True)
            seen.zero_()
        if a.state and (step % 50 == 49 or step == a.steps - 1):
            torch.save({"weights": {n: p.detach() for n, p in w.items()}, "optimizer": optimizer.state(),
                        "step": step + 1, "wall": time.time() - wall, "cpu": time.process_time() - cpu},
                       a.state + ".new")
            os.replace(a.state + ".new", a.state)
    save(w, t, a.out)
    print(f"{a.steps} steps of {SHORT[0] * SHORT[1]} tokens, wall {time.time() - wall:.0f}s, "
          f"cpu {time.process_time() - cpu:.0f}s")


def save(w, t, folder):
    """The layout of the published models: one tensor per expert matrix, BF16 but for the bias of the router."""
    os.makedirs(folder, exist_ok=True)
    out = {}
    for name, p in w.items():
        p = p.detach().to(torch.float32 if name.endswith("expert_bias") else torch.bfloat16)
        if "experts." in name:
            base = name[:name.index("experts.") + 8]
            for e in range(E):
                parts = {"w1": p[e, :FF], "w3": p[e, FF:]} if name.endswith("gate_up_proj") else {"w2": p[e]}
                for k, v in parts.items():
                    out[f"{base}{e}.{k}.weight"] = v.contiguous()
        else:
            out[name] = p.contiguous()
    save_file(out, f"{folder}/model.safetensors", metadata={"format": "pt"})
    generation = {"_from_model_config": True, "bos_token_id": 1, "eos_token_id": 7, "pad_token_id": 0}
    for file, value in (("config.json", CONFIG), ("generation_config.json", generation)):
        with open(f"{folder}/{file}", "w") as f:
            json.dump(value, f, indent=2)
            f.write("\n")
    tokenizer.save(t, folder)


if __name__ == "__main__":
    here = os.path.dirname(os.path.abspath(__file__))
    p = argparse.ArgumentParser()
    p.add_argument("--steps", type=int, default=1600)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--seed", type=int, default=generate.SEED)
    p.add_argument("--state")
    p.add_argument("--out", default=here)
    train(p.parse_args())
