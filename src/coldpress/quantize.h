// A whole model, from a Hugging Face folder or a GGUF file to either: what `coldpress quantize`
// does.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/status.h"
#include "coldpress/method.h"

namespace coldpress {

struct QuantizeProgress {
  int64_t done;  // linears, of `total`
  int64_t total;
  std::string tensor;  // the last one done
  double mean_error;   // of those done (SolvedLayer::error)
};

struct QuantizeOptions {
  MethodOptions method = {};
  // A recipe by name ("w4a8-smoothquant") or a file with one: TOML, or the manifest of a run to
  // repeat. What it says counts in place of the other options; at most one of the two.
  std::string preset = {};
  std::string recipe = {};
  // A text or JSONL file, or "FILE:WEIGHT,FILE:WEIGHT,...". Empty: what the recipe says, if it
  // does.
  std::string calibration = {};
  int64_t samples = 128;
  int64_t seqlen = 512;
  std::optional<uint64_t> seed = {};  // choose the windows at random; none: the first ones
  std::string imatrix = {};           // calibrate on this file instead of `calibration`
  // How the result is stored: f16, bf16 or f32. Empty: f16; where linears are codes (`format`) the
  // source's own, and the scales' type is then the same unless given.
  std::string dense_type = {};
  uint64_t split_bytes = 0;  // GGUF: bytes of tensors per file; 0: one file
  uint64_t shard_bytes = 0;  // folders: bytes per file; 0: the source's shards
  // How a folder stores linears: dense, or codes as compressed-tensors, gptq, gptq-v2 or
  // int-quantized.
  std::string format = "dense";
  bool quantize_head = false;   // the head too, where it is no table of embeddings
  std::string target = {};      // refuse what this does not load: vllm, transformers or llama.cpp
  int64_t tensor_parallel = 1;  // devices among which the target cuts every layer
  bool propagate = true;        // linears make good what they can of the errors before them
  // Of the Hessians' off-diagonals, 0 to 1; none: by the number of tokens.
  std::optional<double> shrinkage = {};
  std::string tokenizer_pre = {};  // the pre-tokenizer, by llama.cpp's name; empty: the model's own
  // GGUF types by one of llama.cpp's mixes ("Q4_K_M"), in place of bits, group and grid.
  std::string type = {};
  bool pure = false;
  std::vector<std::string> tensor_types = {};  // "REGEX=TYPE", the first that matches counts
  std::string output_tensor_type = {};
  std::string token_embedding_type = {};
  bool allow_fallback = false;
  int threads = 0;  // 0: all cores; the result does not depend on it
  // Ceiling of anonymous memory, in bytes; 0: none. What does not fit is kept in files without
  // names in `work_dir`, or beside the output where that is empty. The result does not depend on
  // it.
  uint64_t max_ram = 0;
  std::string work_dir = {};
  // Called from the calling thread; false stops the run, which is then an error. May be empty.
  std::function<bool(const QuantizeProgress&)> progress = {};
};

// Presses `model` and writes `out`: NAME.gguf, or the name of a folder; it must not exist. Returns
// the manifest, a JSON object. On any error nothing is left under the name.
Result<std::string> quantize(const std::string& model, const std::string& out,
                             const QuantizeOptions& options);

}  // namespace coldpress
