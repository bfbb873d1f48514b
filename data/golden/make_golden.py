#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Records what Hugging Face Transformers' own classes compute, for tests/test_golden.c to compare with.

Each golden is a tiny model with seeded random weights: a folder NAME/ as Transformers saves it, and NAME.h5 with the
tokens and, in float32, what every link of the forward pass gave for them. Weights come from numpy's generator, not
from torch's, so that they are the same on every machine; the recordings may differ in their last bits.

usage: python3 make_golden.py        (pip install -r requirements.txt; writes beside itself, MANIFEST last)"""
import hashlib
import os
import platform
import shutil
import sys

import h5py
import numpy as np
import safetensors
import torch
import transformers
from transformers import AutoModelForCausalLM, Lfm2Config, Lfm2MoeConfig, Qwen3Config

HERE = os.path.dirname(os.path.abspath(__file__))
LEAST_MARGIN = 5e-4  # of any router choice: float32 moves a score by 1e-6, so none is a near-tie

CONV, ATTENTION = "conv", "full_attention"
COMMON = dict(vocab_size=96, pad_token_id=0, bos_token_id=1, eos_token_id=2, max_position_embeddings=4096)
MOE = dict(layer_types=[CONV, ATTENTION, CONV, ATTENTION], num_hidden_layers=4, num_dense_layers=2, **COMMON)

GOLDENS = {
    # Four heads that read two; four of twelve experts; beyond one block of 64 queries; several files.
    "lfm2moe-64": dict(
        config=Lfm2MoeConfig(hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=64,
                             intermediate_size=128, moe_intermediate_size=32, num_experts=12, num_experts_per_tok=4,
                             **MOE),
        dtype=torch.bfloat16, grid=True, seed=1, tokens=70, router=1.5, bias=0.3,
        save=dict(max_shard_size="300KB")),
    # One expert of ten, whose probability may be near 0, where the 1e-6 of its norm shows; fused experts.
    "lfm2moe-128": dict(
        config=Lfm2MoeConfig(hidden_size=64, num_attention_heads=2, num_key_value_heads=1, head_dim=128,
                             intermediate_size=96, moe_intermediate_size=32, num_experts=10, num_experts_per_tok=1,
                             routed_scaling_factor=2.5, norm_eps=1e-4,
                             rope_parameters=dict(rope_type="default", rope_theta=5e6), **MOE),
        dtype=torch.bfloat16, grid=True, seed=7, tokens=40, router=3.0, bias=1.5,
        save=dict(save_original_format=False)),
    # Chosen weights as they are; single precision files.
    "lfm2moe-raw": dict(
        config=Lfm2MoeConfig(hidden_size=64, num_attention_heads=1, num_key_value_heads=1, intermediate_size=64,
                             moe_intermediate_size=32, num_experts=4, num_experts_per_tok=2, norm_topk_prob=False,
                             layer_types=[ATTENTION, CONV], num_hidden_layers=2, num_dense_layers=0, **COMMON),
        dtype=torch.float32, seed=3, tokens=24, router=1.5, bias=0.3, save={}),
    # The width of the ffn is computed: two thirds of 280, rounded up to a multiple of 64.
    "lfm2-64": dict(
        config=Lfm2Config(hidden_size=128, num_attention_heads=2, num_key_value_heads=1, intermediate_size=280,
                          block_multiple_of=64, layer_types=[CONV, ATTENTION, CONV], num_hidden_layers=3, **COMMON),
        dtype=torch.float16, seed=4, tokens=40, save={}),
    # Heads wider than the model, a head of its own.
    "qwen3-128": dict(
        config=Qwen3Config(hidden_size=64, num_attention_heads=4, num_key_value_heads=2, head_dim=128,
                           intermediate_size=96, num_hidden_layers=2, tie_word_embeddings=False,
                           rope_parameters=dict(rope_type="default", rope_theta=1e6), **COMMON),
        dtype=torch.bfloat16, grid=True, seed=5, tokens=70, save={}),
    "qwen3-64": dict(
        config=Qwen3Config(hidden_size=64, num_attention_heads=2, num_key_value_heads=2, head_dim=64,
                           intermediate_size=96, num_hidden_layers=2, tie_word_embeddings=True,
                           rope_parameters=dict(rope_type="default", rope_theta=1e6), **COMMON),
        dtype=torch.float32, seed=6, tokens=24, save={}),
}


def on_q4_0(random, shape):
    """Numbers of variance 1/K or a little less that Q4_0 holds exactly: blocks of 32 integers in -8 .. 7, each with a
    -8 (which sets the block's scale), times a scale of so few bits that the products are bfloat16 numbers."""
    q = random.integers(-8, 8, (*shape[:-1], shape[-1] // 32, 32))
    q[..., 0] = -8
    scale = random.integers(8, 16, (*q.shape[:-1], 1)) * 2.0 ** -np.round(np.log2(11.5 * 4.6 * shape[-1] ** 0.5))
    return (q * scale).reshape(shape)


def on_q8_0(random, shape):
    """The same for Q8_0, of variance near 1: integers of up to 127, and powers of two."""
    q = random.integers(-64, 65, (*shape[:-1], shape[-1] // 32, 32))
    q[..., 0] = 127
    return (q * 2.0 ** random.integers(-6, -4, (*q.shape[:-1], 1))).reshape(shape)


def fill(model, random, spec):
    """Random weights that keep activations near 1, so that every step of the forward pass is felt. grid: those that a
    Q4_0 file made by lfm2 holds without rounding, so that int4 kernels can be held to the recordings, too."""
    head = "embed_tokens" if model.config.tie_word_embeddings else "lm_head"  # Q8_0 in such files
    for name, w in sorted({**dict(model.named_parameters()), **dict(model.named_buffers())}.items()):
        if "inv_freq" in name:
            continue
        shape = tuple(w.shape)
        x = random.standard_normal(shape)
        if name.endswith("expert_bias"):
            x *= spec["bias"]
        elif name.endswith("feed_forward.gate.weight"):
            x *= spec["router"] / shape[-1] ** 0.5
        elif "norm" in name:
            x = 1 + 0.2 * x
        elif "conv.conv" in name:
            x *= 0.6
        elif spec.get("grid"):
            x = on_q8_0(random, shape) if head in name else on_q4_0(random, shape)
            x *= 8 if "embed_tokens" in name and head == "lm_head" else 1
        elif "embed_tokens" not in name:
            x /= shape[-1] ** 0.5
        with torch.no_grad():
            w.copy_(torch.from_numpy(x))


def save(model, folder, dtype, options):
    """As an ordinary folder; the expert bias stays float32, as in the official ones."""
    biases = {n: b.clone() for n, b in model.named_buffers() if n.endswith("expert_bias")}
    model.to(dtype)
    for name, bias in biases.items():
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, bias)
    shutil.rmtree(folder, ignore_errors=True)
    model.save_pretrained(folder, **options)
    generation = os.path.join(folder, "generation_config.json")
    if os.path.exists(generation):
        os.remove(generation)


class Recorder:
    """Hooks that keep the output of every link, by name; a second run appends to the first one's."""

    def __init__(self, model):
        self.links = {}
        inner = model.model
        self.keep(inner.embed_tokens, "embedding")
        self.keep(inner.embedding_norm if hasattr(inner, "embedding_norm") else inner.norm, "final_norm")
        self.keep(model.lm_head, "logits")
        for i, layer in enumerate(inner.layers):
            ffn = layer.feed_forward if hasattr(layer, "feed_forward") else layer.mlp
            self.keep(layer.self_attn if hasattr(layer, "self_attn") else layer.conv, f"layer{i}/mixer_out")
            self.keep(ffn, f"layer{i}/ffn_out")
            self.keep(layer, f"layer{i}/layer_out")
            if hasattr(ffn, "gate"):
                ffn.gate.register_forward_hook(lambda m, a, out, i=i, ffn=ffn: self.router(i, ffn, out))

    def keep(self, module, name):
        module.register_forward_hook(
            lambda m, a, out: self.put(name, (out[0] if isinstance(out, tuple) else out).reshape(-1, out[0].shape[-1])))

    def put(self, name, x):
        self.links.setdefault(name, []).append(x.detach().numpy())

    def router(self, i, ffn, out):
        logits, weights, chosen = out
        s = logits.sigmoid()
        order = chosen.argsort(dim=-1)
        ranked = (s + ffn.expert_bias).sort(dim=-1, descending=True).values
        k = chosen.shape[-1]
        unbiased = s.topk(k, dim=-1).indices.sort(dim=-1).values
        experts = chosen.gather(1, order)
        self.put(f"layer{i}/router", s)
        self.put(f"layer{i}/experts", experts.to(torch.int32))
        self.put(f"layer{i}/weights", weights.gather(1, order))
        self.put(f"layer{i}/margin", ranked[:, k - 1 : k] - ranked[:, k : k + 1])
        self.put(f"layer{i}/turned", (unbiased != experts).any(dim=-1, keepdim=True).to(torch.int32))

    def take(self):
        links, self.links = {n: np.concatenate(x) for n, x in self.links.items()}, {}
        return links


def pieces(n):
    """Lengths of pieces that put a border everywhere around a window of three."""
    lengths = []
    for length in [1, 1, 2, 3, 1, 4, 5, 1, 7, 2, 64]:
        lengths.append(min(length, n - sum(lengths)))
    return np.array([x for x in lengths if x > 0], np.int32)


def run_whole(model, recorder, ids):
    with torch.no_grad():
        model(input_ids=torch.tensor(ids)[None], use_cache=False)
    return recorder.take()


def run_pieces(model, recorder, ids, lengths):
    """The same tokens in pieces, through a cache."""
    cache, at = None, 0
    for n in lengths:
        with torch.no_grad():
            cache = model(input_ids=torch.tensor(ids[at : at + n])[None], past_key_values=cache,
                          use_cache=True).past_key_values
        at += n
    return recorder.take()


def make(name, spec):
    random = np.random.Generator(np.random.Philox(spec["seed"]))
    folder = os.path.join(HERE, name)
    model = AutoModelForCausalLM.from_config(spec["config"])
    fill(model, random, spec)
    save(model, folder, spec["dtype"], spec["save"])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager")
    if "router" in spec:
        model.set_experts_implementation("eager")
    recorder = Recorder(model.eval())

    for attempt in range(1000):  # tokens whose choices are all clear
        ids = [1, *random.integers(3, spec["config"].vocab_size, spec["tokens"] - 1).tolist()]
        links = run_whole(model, recorder, ids)
        margins = [links[n].min() for n in links if n.endswith("margin")]
        if not margins or min(margins) >= LEAST_MARGIN:
            break
    else:
        sys.exit(f"{name}: every text has a near-tie")
    lengths = pieces(len(ids))
    cut = run_pieces(model, recorder, ids, lengths)
    assert all((cut[n] == links[n]).all() for n in cut if n.endswith("experts"))
    links |= dict(ids=np.array(ids, np.int32), pieces=lengths, pieces_logits=cut["logits"])

    about = f"{spec['config'].model_type}, {str(spec['dtype'])[6:]}, seed {spec['seed']}, {len(ids)} tokens"
    about += f", in pieces {np.abs(cut['logits'] - links['logits']).max():.1e} from whole"
    if margins:
        turned = np.concatenate([links[n] for n in links if n.endswith("turned")])
        weakest = min(
            np.take_along_axis(links[f"layer{i}/router"], links[f"layer{i}/experts"], 1).sum(1).min()
            for i in range(len(spec["config"].layer_types)) if f"layer{i}/router" in links)
        about += (f", least margin {min(margins):.1e}, {turned.sum()} of {turned.size} choices turned by the bias"
                  f", least sum of chosen probabilities {weakest:.1e}")
        assert turned.any()
        for n in [n for n in links if n.endswith("turned")]:
            del links[n]
    with h5py.File(os.path.join(HERE, name + ".h5"), "w") as f:
        for link in sorted(links):
            f.create_dataset(link, data=links[link])
        f.attrs["about"] = about
    print(f"{name}: {about}")
    return about


def write_manifest(about):
    """Lines that `sha256sum -c` reads, under a comment that says how they came to be."""
    modules = (torch, transformers, safetensors, h5py, np)
    lines = ["# python3 data/golden/make_golden.py",
             f"# Python {platform.python_version()}, " + ", ".join(f"{m.__name__} {m.__version__}" for m in modules)]
    lines += [f"# {name}: {text}" for name, text in about.items()]
    for name in about:
        files = [os.path.join(name, x) for x in sorted(os.listdir(os.path.join(HERE, name)))] + [name + ".h5"]
        for path in files:
            with open(os.path.join(HERE, path), "rb") as f:
                lines.append(f"{hashlib.sha256(f.read()).hexdigest()}  {path}")
    with open(os.path.join(HERE, "MANIFEST"), "w") as f:
        f.write("\n".join(lines) + "\n")


torch.set_num_threads(1)
torch.use_deterministic_algorithms(True)
write_manifest({name: make(name, spec) for name, spec in GOLDENS.items()})
