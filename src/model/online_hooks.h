// Where a model's online parts (model/online.h) act in the stage graphs: on q, k and v of attention
// and on the taps that quantised linears read.
#pragma once

#include <ggml.h>

#include <cstdint>
#include <map>
#include <memory>

#include "base/view.h"
#include "linalg/rotation.h"
#include "model/config.h"

namespace coldpress {

class OnlineHooks {
 public:
  explicit OnlineHooks(const ModelConfig& config);

  // Keys and queries take the order of channels that Hugging Face has, whatever the source's, so
  // that a model rounds the same in every container; their products do not depend on it.
  // q, k (after RoPE) and v, contiguous heads (D, heads, T): the same where nothing acts on them.
  ggml_tensor* query(ggml_context* ctx, ggml_tensor* q) const;
  ggml_tensor* key(ggml_context* ctx, ggml_tensor* k) const;
  ggml_tensor* value(ggml_context* ctx, ggml_tensor* v) const;

  // What the down projection reads: rows of one slot each.
  void rotate_mid(View2<float> rows);
  // What any quantised linear reads: rows of one linear's input each.
  void round_tap(View2<float> rows) const;

 private:
  // What happens to each head; at an address that the graph keeps.
  struct HeadHook {
    const Rotation* rotation = nullptr;
    LowBits bits;
    bool interleaved = false;  // channels 2i and 2i + 1 are to become i and i + D/2
    bool is_idle() const { return rotation == nullptr && bits.bits == 0; }
  };
  static void apply(ggml_tensor* out, const ggml_tensor* in, int ith, int nth, void* hook);
  static ggml_tensor* hooked(ggml_context* ctx, ggml_tensor* x, const HeadHook& hook);

  OnlineParts parts_;
  std::unique_ptr<Rotation> r3_;
  std::map<int64_t, Rotation> r4_;     // by width
  std::unique_ptr<HeadHook[]> hooks_;  // of q, k and v
};

}  // namespace coldpress
