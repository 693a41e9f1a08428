#include "model/online_hooks.h"

namespace coldpress {

OnlineHooks::OnlineHooks(const ModelConfig& config)
    : parts_(config.online), hooks_(std::make_unique<HeadHook[]>(3)) {
  if (parts_.r3) {
    r3_ = std::make_unique<Rotation>(Rotation::hadamard(config.head_dim, *parts_.r3));
  }
  const bool interleaved = !config.rope.empty() && config.rope.front().interleaved;
  hooks_[0] = {r3_.get(), {}, interleaved};
  hooks_[1] = {r3_.get(), parts_.kv, interleaved};
  hooks_[2] = {nullptr, parts_.kv, false};
}

void OnlineHooks::apply(ggml_tensor* out, const ggml_tensor* in, int ith, int /*nth*/, void* hook) {
  if (ith != 0) return;
  const auto& how = *static_cast<const HeadHook*>(hook);
  const int64_t dim = in->ne[0];
  for (int64_t t = 0; t < in->ne[2]; ++t) {
    for (int64_t head = 0; head < in->ne[1]; ++head) {
      const auto at = [&](const ggml_tensor* x) {
        return static_cast<char*>(x->data) + static_cast<std::size_t>(t) * x->nb[2] +
               static_cast<std::size_t>(head) * x->nb[1];
      };
      auto* row = reinterpret_cast<float*>(at(out));
      const auto* from = reinterpret_cast<const float*>(at(in));
      for (int64_t i = 0; i < dim; ++i) {
        row[how.interleaved ? i % 2 * (dim / 2) + i / 2 : i] = from[i];
      }
      if (how.rotation != nullptr) how.rotation->apply(row);
      round_to_low_bits(how.bits, row, dim);
    }
  }
}

ggml_tensor* OnlineHooks::hooked(ggml_context* ctx, ggml_tensor* x, const HeadHook& hook) {
  return ggml_map_custom1(ctx, x, apply, 1, const_cast<HeadHook*>(&hook));  // only read
}

ggml_tensor* OnlineHooks::query(ggml_context* ctx, ggml_tensor* q) const {
  // In the order that the keys get.
  return hooks_[1].is_idle() ? q : hooked(ctx, q, hooks_[0]);
}
ggml_tensor* OnlineHooks::key(ggml_context* ctx, ggml_tensor* k) const {
  return hooks_[1].is_idle() ? k : hooked(ctx, k, hooks_[1]);
}
ggml_tensor* OnlineHooks::value(ggml_context* ctx, ggml_tensor* v) const {
  return hooks_[2].is_idle() ? v : hooked(ctx, v, hooks_[2]);
}

void OnlineHooks::rotate_mid(View2<float> rows) {
  if (!parts_.r4) return;
  auto at = r4_.find(rows.cols);
  if (at == r4_.end()) {
    at = r4_.emplace(rows.cols, Rotation::hadamard(rows.cols, *parts_.r4)).first;
  }
  at->second.to_rows(rows);
}

void OnlineHooks::round_tap(View2<float> rows) const {
  if (parts_.activations.bits == 0) return;
  for (int64_t i = 0; i < rows.rows; ++i) {
    round_to_low_bits(parts_.activations, rows.row(i), rows.cols);
  }
}

}  // namespace coldpress
