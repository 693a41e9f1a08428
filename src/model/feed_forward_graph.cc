#include "model/feed_forward_graph.h"

#include "base/check.h"

namespace coldpress {
namespace {

// s with gelu(x) ~ x sigmoid(x s), the tanh approximation: s = 2c (1 + a x^2), c = sqrt(2 / pi).
// ggml's own goes through a table of fp16 values.
ggml_tensor* gelu_slope(ggml_context* ctx, ggml_tensor* x) {
  constexpr float kC2 = 2.0F * 0.7978845608028654F;
  constexpr float kA = 0.044715F;
  return ggml_scale_bias(ctx, ggml_sqr(ctx, x), kC2 * kA, kC2);
}

ggml_tensor* activated(BlockGraph& b, ggml_tensor* x) {
  switch (b.config.activation) {
    case Activation::kSilu:
      return ggml_silu(b.ctx, x);
    case Activation::kRelu:
      return ggml_relu(b.ctx, x);
    case Activation::kGelu:
      return ggml_gelu_erf(b.ctx, x);
    case Activation::kGeluTanh: {
      ggml_tensor* s = gelu_slope(b.ctx, x);
      return ggml_div(b.ctx, ggml_silu(b.ctx, ggml_mul(b.ctx, x, s)), s);
    }
  }
  COLDPRESS_CHECK(false);
}

}  // namespace

ggml_tensor* gated(BlockGraph& b, ggml_tensor* gate, ggml_tensor* up) {
  switch (b.config.activation) {
    case Activation::kSilu:
      return ggml_swiglu_split(b.ctx, gate, up);
    case Activation::kRelu:
      return ggml_reglu_split(b.ctx, gate, up);
    case Activation::kGelu:
      return ggml_geglu_erf_split(b.ctx, gate, up);
    case Activation::kGeluTanh: {
      ggml_tensor* s = gelu_slope(b.ctx, gate);
      return ggml_swiglu_split(b.ctx, ggml_mul(b.ctx, gate, s), ggml_div(b.ctx, up, s));
    }
  }
  COLDPRESS_CHECK(false);
}

ggml_tensor* feed_forward_mid(BlockGraph& b, ggml_tensor* x) {
  if (b.has("ffn_gate_up")) {
    ggml_tensor* both = b.linear(x, "ffn_gate_up");
    const auto half = [&](std::size_t i) {
      return ggml_cont(b.ctx,
                       ggml_view_2d(b.ctx, both, both->ne[0] / 2, both->ne[1], both->nb[1],
                                    i * static_cast<std::size_t>(both->ne[0] / 2) * sizeof(float)));
    };
    return gated(b, half(0), half(1));
  }
  if (b.has("ffn_gate")) return gated(b, b.linear(x, "ffn_gate"), b.linear(x, "ffn_up"));
  return activated(b, b.linear(x, "ffn_up"));
}

}  // namespace coldpress
