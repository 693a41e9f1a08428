// The immutable plan of a run: what happens to every tensor of the source, decided and checked from
// metadata alone, before any weight is read.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/status.h"
#include "io/json_type.h"
#include "model/model.h"
#include "pipeline/recipe.h"

namespace coldpress {

// Experts that are solved side by side; their Grams are in memory at once.
inline constexpr int64_t kExpertsAtOnce = 8;

// Where tensors outside the blocks are read: the head (tied embeddings included), embeddings alone.
inline constexpr char kEmbeddingTap[] = "embedding";

enum class TensorAction { kQuantise, kCopy };

struct PlannedTensor {
  std::string name;
  TensorAction action = TensorAction::kCopy;
  std::string source_type;
  std::string stored_type;
  std::vector<int64_t> shape;
  uint64_t source_bytes = 0;
  uint64_t stored_bytes = 0;
  std::string reason;      // why it is copied
  bool is_edited = false;  // its values are a transform's
  // Quantised tensors only.
  GridOptions grid;
  int32_t ggml_type = -1;  // of the blocks it is stored in; -1: the recipe's dense type
  int block = -1;          // -1: outside the blocks
  std::string role;
  std::string tap;
  int64_t linears = 0;              // in this tensor: one, or as many as there are experts
  double grid_bits_per_weight = 0;  // scales and zeros counted
  double bits_per_weight = 0;       // with the outliers beside the grid, at most
};

// What a run takes at its peak (pipeline/memory_plan.h), in bytes. Without a ceiling that is all of
// its memory that is resident, mapped files included. With one it is anonymous memory: pages of
// files are the system's to take back.
struct MemoryPlan {
  int64_t peak = 0;
  std::string at_peak;          // where in the run, in words
  int64_t without_ceiling = 0;  // the peak of the same run without one
  int64_t least = 0;            // anonymous memory with all on disk that can be
  uint64_t max_ram = 0;         // 0: no ceiling
  int64_t spilled_kinds = 0;    // this many of kSpillable are on disk
  int64_t spilled_peak = 0;     // bytes on disk
};

struct Plan {
  Recipe recipe;
  std::vector<PlannedTensor> tensors;  // every tensor of the source, in its order
  std::vector<SetAside> set_aside;     // stored tensors that are parts of others
  int64_t quantised_weights = 0;
  double bits_per_weight = 0;  // mean over the quantised weights
  MemoryPlan memory;
  double forward_flops = 0;  // one pass of the blocks over the calibration tokens
  double gram_flops = 0;     // SYRK of every tap

  const PlannedTensor* find(const std::string& name) const;
};

// Refuses what cannot be done, naming the tensor: bits, groups that do not divide, unknown methods.
// `max_ram`: ceiling of anonymous memory; 0: none.
Result<Plan> make_plan(const Model& model, const Recipe& recipe, int threads, uint64_t max_ram = 0);

Json plan_to_json(const Plan& plan);

}  // namespace coldpress
