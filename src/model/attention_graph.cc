#include "model/attention_graph.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"

namespace coldpress {
namespace {

// Queries that are multiplied with keys at once. A chunk meets the keys up to its own end only,
// which saves half of a long window's products, and its scores stay in the cache.
constexpr int64_t kQueryChunk = 128;

constexpr int64_t kFixedNodes = 64;       // outside the chunks: never reached
constexpr int64_t kNodesPerProduct = 24;  // of one chunk of queries and one key head

}  // namespace

int64_t AttentionGraph::nodes(int64_t tokens) const {
  const int64_t chunks = (tokens + kQueryChunk - 1) / kQueryChunk;
  return kFixedNodes + kNodesPerProduct * chunks * b_.config.kv_heads;
}

// (rows of a fused qkv, T) -> its parts.
AttentionGraph::Heads AttentionGraph::split(ggml_tensor* qkv) {
  const int64_t dim = b_.config.head_dim;
  const int64_t heads = b_.config.heads;
  const int64_t keys = b_.config.kv_heads;
  const int64_t group = heads / keys;
  const int64_t tokens = qkv->ne[1];
  const std::size_t head_bytes = static_cast<std::size_t>(dim) * sizeof(float);
  const auto at = [&](int64_t head) { return static_cast<std::size_t>(head) * head_bytes; };
  if (!b_.config.qkv_by_group) {
    const auto part = [&](int64_t first, int64_t count) {
      return ggml_cont(
          b_.ctx, ggml_view_3d(b_.ctx, qkv, dim, count, tokens, head_bytes, qkv->nb[1], at(first)));
    };
    return {part(0, heads), part(heads, keys), part(heads + keys, keys)};
  }
  const auto part = [&](int64_t first, int64_t count) {
    ggml_tensor* view = ggml_view_4d(b_.ctx, qkv, dim, count, keys, tokens, head_bytes,
                                     at(group + 2), qkv->nb[1], at(first));
    return ggml_reshape_3d(b_.ctx, ggml_cont(b_.ctx, view), dim, count * keys, tokens);
  };
  return {part(0, group), part(group, 1), part(group + 1, 1)};
}

AttentionGraph::Heads AttentionGraph::project(ggml_tensor* x) {
  if (b_.has("attn_qkv")) return split(b_.linear(x, "attn_qkv"));
  const int64_t dim = b_.config.head_dim;
  const auto part = [&](const char* role, int64_t heads) {
    return ggml_reshape_3d(b_.ctx, b_.linear(x, role), dim, heads, x->ne[1]);
  };
  return {part("attn_q", b_.config.heads), part("attn_k", b_.config.kv_heads),
          part("attn_v", b_.config.kv_heads)};
}

// Normed where the model does so: each head on its own if the gain is one head long, else all.
ggml_tensor* AttentionGraph::normed(ggml_tensor* x, const char* norm_role) {
  ggml_tensor* gain = b_.weight(norm_role);
  if (gain == nullptr) return x;
  if (gain->ne[0] == x->ne[0]) return b_.norm(x, gain, nullptr);
  ggml_tensor* rows = ggml_reshape_2d(b_.ctx, x, x->ne[0] * x->ne[1], x->ne[2]);
  return ggml_reshape_3d(b_.ctx, b_.norm(rows, gain, nullptr), x->ne[0], x->ne[1], x->ne[2]);
}

ggml_tensor* AttentionGraph::rotated(ggml_tensor* x) {
  const RopeConfig& r = b_.rope();
  if (r.dims == 0) return x;
  ggml_tensor* factors =
      r.factors.empty() ? nullptr
                        : b_.graph.leaf(r.factors.data(), static_cast<int64_t>(r.factors.size()));
  return ggml_rope_ext(b_.ctx, x, b_.graph.leaf(b_.positions.data(), x->ne[2]), factors,
                       static_cast<int>(r.dims),
                       r.interleaved ? GGML_ROPE_TYPE_NORMAL : GGML_ROPE_TYPE_NEOX, 0,
                       static_cast<float>(r.theta), 1.0F, 0.0F, 1.0F, 0.0F, 0.0F);
}

// Query i (at position past + i of the keys given) sees key j if j <= past + i and, with a window,
// past + i - j < window.
ggml_tensor* AttentionGraph::mask(int64_t past, int64_t keys, int64_t queries) {
  const int64_t window = b_.window();
  std::vector<float>& values = masks_[{past, keys, queries, window}];
  if (values.empty()) {
    values.resize(static_cast<std::size_t>(keys * queries));
    for (int64_t i = 0; i < queries; ++i) {
      for (int64_t j = 0; j < keys; ++j) {
        const int64_t distance = past + i - j;
        const bool visible = distance >= 0 && (window == 0 || distance < window);
        values[static_cast<std::size_t>(i * keys + j)] = visible ? 0.0F : -INFINITY;
      }
    }
  }
  return b_.graph.leaf(values.data(), keys, queries);
}

// What ALiBi multiplies with a head's slope: key - query, or minus infinity where mask() hides.
ggml_tensor* AttentionGraph::distances(int64_t past, int64_t keys, int64_t queries) {
  const int64_t window = b_.window();
  std::vector<float>& values = distances_[{past, keys, queries, window}];
  if (values.empty()) {
    mask(past, keys, queries);
    values = masks_[{past, keys, queries, window}];
    for (int64_t i = 0; i < queries; ++i) {
      for (int64_t j = 0; j < keys; ++j) {
        values[static_cast<std::size_t>(i * keys + j)] += static_cast<float>(j - past - i);
      }
    }
  }
  return b_.graph.leaf(values.data(), keys, queries);
}

// scores (keys, queries, G) of key head `head` -> probabilities.
ggml_tensor* AttentionGraph::soft_max(ggml_tensor* scores, int64_t head, int64_t past) {
  ggml_context* ctx = b_.ctx;
  const ModelConfig& config = b_.config;
  const int64_t keys = scores->ne[0];
  const int64_t queries = scores->ne[1];
  auto scale = static_cast<float>(config.attention_scale);
  if (config.attention_softcap != 0.0) {
    const auto cap = static_cast<float>(config.attention_softcap);
    scores = ggml_scale_inplace(ctx, scores, scale / cap);
    scores = ggml_scale_inplace(ctx, ggml_tanh_inplace(ctx, scores), cap);
    scale = 1.0F;
  }
  if (!config.alibi_slopes.empty()) {
    COLDPRESS_CHECK(scores->ne[2] == 1);  // a slope per query head: no groups
    ggml_tensor* bias = ggml_scale(ctx, distances(past, keys, queries),
                                   config.alibi_slopes[static_cast<std::size_t>(head)]);
    return ggml_soft_max_ext(ctx, scores, bias, scale, 0.0F);
  }
  const bool windowed = b_.window() > 0 && past + queries > b_.window();
  if (windowed) return ggml_soft_max_ext(ctx, scores, mask(past, keys, queries), scale, 0.0F);
  // Touches only the triangle, where a mask would be read whole.
  scores = ggml_diag_mask_inf_inplace(ctx, scores, static_cast<int>(past));
  return ggml_soft_max_ext(ctx, scores, nullptr, scale, 0.0F);
}

void AttentionGraph::build(ggml_tensor* x, ggml_tensor* out) {
  ggml_context* ctx = b_.ctx;
  const int64_t tokens = x->ne[1];
  const int64_t dim = b_.config.head_dim;
  const int64_t kv_heads = b_.config.kv_heads;
  const int64_t group = b_.config.heads / kv_heads;
  const std::size_t head_bytes = static_cast<std::size_t>(dim) * sizeof(float);

  auto [q, k, v] = project(x);
  q = b_.online.query(ctx, rotated(normed(q, "attn_q_norm")));
  k = b_.online.key(ctx, rotated(normed(k, "attn_k_norm")));
  v = b_.online.value(ctx, v);
  // (D, T, K): what one head needs is one contiguous matrix, as BLAS wants it.
  k = ggml_cont(ctx, ggml_permute(ctx, k, 0, 2, 1, 3));
  v = ggml_cont(ctx, ggml_permute(ctx, v, 0, 2, 1, 3));
  b_.graph.add(q);
  b_.graph.add(k);
  b_.graph.add(v);

  for (int64_t first = 0; first < tokens; first += kQueryChunk) {
    const int64_t queries = std::min(kQueryChunk, tokens - first);
    const int64_t end = first + queries;
    const int64_t first_key = b_.window() > 0 ? std::max<int64_t>(0, first - b_.window() + 1) : 0;
    const int64_t keys = end - first_key;
    for (int64_t head = 0; head < kv_heads; ++head) {
      const auto at = [&](const ggml_tensor* t) {
        return static_cast<std::size_t>(head) * t->nb[2] +
               static_cast<std::size_t>(first_key) * t->nb[1];
      };
      // The group's queries, one below the other: (D, queries * G).
      ggml_tensor* q_head = ggml_view_3d(ctx, q, dim, queries, group, q->nb[2], q->nb[1],
                                         static_cast<std::size_t>(head * group) * q->nb[1] +
                                             static_cast<std::size_t>(first) * q->nb[2]);
      q_head = ggml_reshape_2d(ctx, ggml_cont(ctx, q_head), dim, queries * group);
      ggml_tensor* k_head = ggml_view_2d(ctx, k, dim, keys, k->nb[1], at(k));
      ggml_tensor* v_head = ggml_view_2d(ctx, v, dim, keys, v->nb[1], at(v));

      ggml_tensor* scores = ggml_mul_mat(ctx, k_head, q_head);  // (keys, queries * G)
      scores = ggml_reshape_3d(ctx, scores, keys, queries, group);
      ggml_tensor* p = soft_max(scores, head, first - first_key);
      p = ggml_reshape_2d(ctx, p, keys, queries * group);
      // (D, queries * G): sum over keys of v p, without a transposed copy of v.
      ggml_tensor* y = ggml_out_prod(ctx, v_head, ggml_transpose(ctx, p));
      y = ggml_reshape_3d(ctx, y, dim, queries, group);
      ggml_tensor* target = ggml_view_3d(ctx, out, dim, queries, group, out->nb[1], head_bytes,
                                         static_cast<std::size_t>(first) * out->nb[1] +
                                             static_cast<std::size_t>(head * group) * head_bytes);
      b_.graph.add(ggml_cpy(ctx, y, target));
    }
  }
}

}  // namespace coldpress
