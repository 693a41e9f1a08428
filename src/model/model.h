// A source model on disk (Hugging Face folder or GGUF file): its configuration, its tensors, and
// the role each tensor plays. Opening reads metadata only; weights are mapped and decoded one at a
// time.
//
// Taps and stages (ALGORITHMS.md §6). A block is cut where linears read their input:
//
//   stage 0:            residual            -> tap 0 (input of q, k, v)
//   stage 1: tap 0   -> linears, attention  -> tap 1 (input of o)
//   stage 2: tap 1   -> residual += o(.)    -> tap 2 (input of gate, up)
//   stage 3: tap 2   -> act(gate) * up      -> tap 3 (input of down)
//   stage 4: tap 3   -> residual += down(.)
//
// (a tap ends as what its linears read: rotated and rounded, where the model has online parts)
// so that each activation is computed once and always with the block's current weights. Families
// fill this frame as their declaration says: norms before or after (or both), a feed-forward with
// or without gate, and, where attention and feed-forward stand side by side, tap 2 taken from the
// residual before stage 2 adds to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/memory.h"
#include "base/status.h"
#include "base/view.h"
#include "linalg/rotation.h"
#include "model/config.h"
#include "model/table.h"

namespace coldpress {

// One tensor as the source stores it.
struct SourceTensor {
  std::string name;            // the source's own name
  std::string type;            // "BF16", "F16", "F32", "q4_1", ...
  std::vector<int64_t> shape;  // row-major
  std::span<const std::byte> data;
  std::string shard;  // file name inside the folder (or the GGUF's file name)
  // Made of several stored tensors (model/packed_form.h): `type` names the form, `data` is the
  // codes' bytes, and load() is the only way to the values.
  bool is_packed = false;
  // load() gives other values than those stored: a transform's (transform/transformed_model.h).
  bool is_edited = false;
};

// A stored tensor that is no tensor of the model by itself: a scale or the codes of a packed
// weight.
struct SetAside {
  std::string name;
  std::string type;
  std::vector<int64_t> shape;
  std::string reason;
};

// A linear that is quantised: y = x W^T (+ bias), W is (out, in). Fused tensors (q, k and v; gate
// and up) are one linear, as their parts read the same input.
struct LinearRef {
  std::string role;         // "attn_q", "attn_qkv", "ffn_down", ... (model/roles.h)
  std::string tensor_name;  // in the source
  int64_t out = 0;
  int64_t in = 0;
  int expert = -1;          // of a mixture of experts, whose matrix this is; -1: dense
  bool is_stacked = false;  // its tensor holds all experts: rows from expert * out on are its
};

// An activation that several linears read, so that they share one Gram matrix.
struct Tap {
  std::string name;   // "attn_in", "attn_out", "ffn_in", "ffn_mid"
  int64_t width = 0;  // per token
  std::vector<LinearRef> linears;
  // Experts: each linear reads only the rows that are routed to its expert. Before gate and up, a
  // token's row goes to all of its experts; before down, it holds a slot for each of them.
  bool by_expert = false;
  // What the linears give is added to the residual stream as it is, no norm between.
  bool adds_to_residual = false;

  int64_t slots() const { return linears.empty() ? 1 : width / linears.front().in; }
};

// Which experts a window's tokens go to, and with which weights: (tokens, used), best first.
struct Routes {
  int64_t used = 0;
  std::vector<int32_t> experts;
  std::vector<float> weights;
};

// What the head reads, beside the taps of blocks.
inline constexpr char kHeadTap[] = "head";

class Model {
 public:
  // `path`: a folder with config.json and *.safetensors (single or sharded with an index), or a
  // .gguf file. Unknown architectures, missing tensors and wrong shapes are errors here.
  static Result<std::unique_ptr<Model>> open(const std::filesystem::path& path);
  virtual ~Model() = default;

  virtual const Architecture& architecture() const = 0;
  virtual const ModelConfig& config() const = 0;
  virtual const std::filesystem::path& path() const = 0;
  virtual bool is_gguf() const = 0;
  // True if the source holds quantised weights (they are dequantised on load).
  virtual bool source_is_quantised() const = 0;

  // Every tensor of every shard, but for those set aside.
  virtual const std::vector<SourceTensor>& tensors() const = 0;
  virtual const std::vector<SetAside>& set_aside() const = 0;
  virtual const SourceTensor* find(const std::string& name) const = 0;
  virtual std::vector<Tap> taps(int block) const = 0;  // in stage order

  // The source's name of the tensor that plays `role` (model/table.h); nullopt if this model has
  // none (an absent bias, a tied output). `block` is ignored for roles of the whole model.
  virtual std::optional<std::string> role_tensor(std::string_view role, int block) const = 0;

  // How the channels of a tap are rotated from those of the model that was opened, as each of its
  // linears reads them; kHeadTap too. Empty: not.
  virtual RotationBlocks tap_rotations(std::string_view /*tap*/, int /*block*/) const { return {}; }

  // Decodes a tensor to fp32; 1-D tensors become one row, a linear is (out, in) however the
  // source stores it, and 3-D tensors of experts are (experts * out, in). NaN and infinity are
  // errors. The result is in `memory`, and so is all of that size on the way to it.
  virtual Result<MatrixF> load(const std::string& tensor_name, const Memory& memory) const = 0;
  Result<MatrixF> load(const std::string& tensor_name) const {
    return load(tensor_name, main_memory());
  }
};

// The weights of one block in fp32, by role. The pipeline overwrites a linear with its quantised
// values before the next stage runs. Norm gains are the effective ones (norm_weight_offset added).
class BlockWeights {
 public:
  static Result<BlockWeights> load(const Model& model, int block,
                                   const Memory& memory = main_memory());
  // Tells the system that load() comes next, so that it reads the file while others compute.
  static void read_ahead(const Model& model, int block);
  // (out, in); fails a CHECK for a role that the block lacks.
  View2<float> linear(const std::string& role);
  View2<const float> linear(const std::string& role) const;
  // The same of one linear: with experts, its rows of the role's matrix (experts * out, in).
  View2<float> linear(const LinearRef& linear);
  // nullptr if the block has no such tensor (biases, q/k norms, ...).
  const MatrixF* find(const std::string& role) const;

 private:
  struct Entry {
    std::string role;
    MatrixF value;
  };
  std::vector<Entry> entries_;
};

// The weights outside the blocks that the forward pass needs.
class HeadWeights {
 public:
  // What the parts of the forward pass outside the blocks read.
  enum class Part { kAll, kEmbedding, kFinalNorm };
  static Result<HeadWeights> load(const Model& model, Part part = Part::kAll,
                                  const Memory& memory = main_memory());
  // Replaces a matrix that is there; `value` has its shape.
  void replace(const std::string& role, MatrixF value);
  const MatrixF* find(
      const std::string& role) const;  // "token_embd", "output_norm", "output" (if untied), ...

 private:
  struct Entry {
    std::string role;
    MatrixF value;
  };
  std::vector<Entry> entries_;
};

// Runs stages for one worker thread: owns its ggml backends and scratch, single-threaded inside, so
// that callers run one per thread on different windows and results never depend on the thread
// count.
class StageRunner {
 public:
  explicit StageRunner(const ModelConfig& config);
  ~StageRunner();
  StageRunner(StageRunner&&) noexcept;

  // residual (tokens, hidden) <- embeddings of `ids`, at positions 0, 1, 2, ...
  Status embed(const HeadWeights& head, std::span<const int32_t> ids, View2<float> residual);

  // Stage `stage` of `block` on one window of consecutive positions starting at 0.
  //   residual (tokens, hidden)         read, and updated by stages that add to it
  //   tap_in   (tokens, previous width) empty for stage 0
  //   tap_out  (tokens, this width)     empty for the last stage; may not alias tap_in
  // All views are contiguous fp32.
  Status run(const BlockWeights& weights, int block, int stage, View2<float> residual,
             View2<const float> tap_in, View2<float> tap_out);
  // In two steps: the same up to the rounding of tap_out to the model's activation bits; and that.
  Status run_unrounded(const BlockWeights& weights, int block, int stage, View2<float> residual,
                       View2<const float> tap_in, View2<float> tap_out);
  void round_tap(int block, int stage, View2<float> tap);

  // Where the block's router sends the tokens of a window, given its tap 2 (tokens, hidden).
  Status route(const BlockWeights& weights, int block, View2<const float> ffn_in, Routes& routes);

  // out <- the final norm of the given residual rows: what the head reads. Both (rows, hidden).
  Status final_norm(const HeadWeights& head, View2<const float> residual, View2<float> out);

  // logits (rows, vocab) of the given residual rows: final norm, head, scale, soft-capping.
  Status logits(const HeadWeights& head, View2<const float> residual, View2<float> logits);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace coldpress
