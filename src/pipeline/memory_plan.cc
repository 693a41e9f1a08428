#include "pipeline/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <numeric>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "calibration/streamer.h"
#include "io/json.h"
#include "solver/strip.h"
#include "solver/table.h"
#include "transform/samples.h"

namespace coldpress {
namespace {

constexpr auto kF32 = static_cast<int64_t>(sizeof(float));
constexpr auto kF64 = static_cast<int64_t>(sizeof(double));

// What the program holds whatever the model is: measured, docs/memory.md.
constexpr int64_t kProgram = 20'000'000;
constexpr int64_t kPerThread = 9'000'000;      // BLAS's packed panels, stacks
constexpr int64_t kProgramFiles = 18'000'000;  // pages of the program and its libraries

enum Kind { kActivations, kSums, kWeights, kScratch };

// One step of a run.
struct Phase {
  std::string place;
  std::array<int64_t, kSpillable.size()> spillable = {};
  int64_t fixed = 0;
  int64_t mapped = 0;  // of the source's and the output's files, while they are read

  int64_t anonymous(int64_t spilled_kinds) const {
    return std::accumulate(spillable.begin() + spilled_kinds, spillable.end(), fixed);
  }
  int64_t spilled(int64_t spilled_kinds) const {
    return std::accumulate(spillable.begin(), spillable.begin() + spilled_kinds, int64_t{0});
  }
};

class Phases {
 public:
  Phases(const Model& model, const Plan& plan, const SolverMethod& method, int threads)
      : model_(model), plan_(plan), method_(method), threads_(threads) {
    for (const PlannedTensor& t : plan.tensors) {
      if (t.action == TensorAction::kQuantise) quantised_[t.name] = &t;
    }
    activations_ = streamer(nullptr).activations;
    if (any_is_learned(plan.recipe.transform)) add_learning();
    Phase embed{"the embeddings"};
    embed.spillable[kActivations] = activations_;
    embed.spillable[kWeights] = model.config().vocab * model.config().hidden * kF32;
    add(std::move(embed));
    for (int block = 0; block < model.config().blocks; ++block) add_block(block);
    add_outside();
    add_check();
  }

  const std::vector<Phase>& all() const { return phases_; }

 private:
  int64_t streams() const { return plan_.recipe.propagate ? 2 : 1; }

  StreamerBytes streamer(const Tap* tap) const {
    return streamer_bytes(model_, tap, plan_.recipe.samples, plan_.recipe.seqlen, threads_,
                          plan_.recipe.propagate);
  }

  void add(Phase phase) {
    phase.fixed += written_;
    phases_.push_back(std::move(phase));
  }

  // Tensors between the operations of one window's graphs (model/*_graph.cc), of all workers.
  int64_t forward(const std::vector<Tap>& taps) const {
    const ModelConfig& c = model_.config();
    const int64_t t = plan_.recipe.seqlen;
    const int64_t group = c.heads / std::max<int64_t>(1, c.kv_heads);
    const int64_t queries = std::min<int64_t>(t, 128) * group;
    const int64_t attention =
        t * c.head_dim * (c.heads + 4 * c.kv_heads) + 2 * queries * (t + c.head_dim);
    const int64_t mid = 2 * t * taps.back().width;
    const int64_t per_runner = std::max({attention, mid, 3 * t * c.hidden});
    return kF32 * threads_ * streams() * per_runner;
  }

  // A linear being solved, beside the tap's factors.
  int64_t solving(const LinearRef& linear, int64_t threads) const {
    const auto planned = quantised_.find(linear.tensor_name);
    if (planned == quantised_.end()) return 0;
    const SolverMemory& memory = method_.memory;
    const int64_t w = linear.out * linear.in;
    const int64_t group = planned->second->grid.group > 0 ? planned->second->grid.group : linear.in;
    const int64_t scales = 3 * (w / group) * kF32;  // scale, its inverse, zero
    const std::vector<StripRange> strips = cut_into_strips(linear.out);
    const int64_t busy = std::min<int64_t>(threads, static_cast<int64_t>(strips.size()));
    const int64_t strip = strips.empty() ? 0 : (strips.front().rows + 15) / 16 * 16 * linear.in;
    const auto copies = static_cast<int64_t>(memory.weights * static_cast<double>(w * kF32));
    return w + copies + (memory.weights > 0 ? 4 : 2) * scales + busy * memory.strips * strip * kF32;
  }

  // A block's linears in fp32.
  static int64_t weights_of(const std::vector<Tap>& taps) {
    int64_t weights = 0;
    for (const Tap& tap : taps) {
      for (const LinearRef& linear : tap.linears) weights += linear.out * linear.in;
    }
    return weights * kF32;
  }

  // Rotations, before the run, all in main memory.
  void add_learning() {
    const ModelConfig& config = model_.config();
    const SampleBytes bytes = sample_bytes(config, plan_.recipe.samples, plan_.recipe.seqlen);
    const int64_t heads = config.tied_embeddings ? 1 : 2;
    Phase phase{"learning rotations"};
    phase.fixed = std::max(bytes.learning, heads * config.vocab * config.hidden * kF32);
    for (int block = 0; block < config.blocks; ++block) {
      const std::vector<Tap> taps = model_.taps(block);
      phase.fixed = std::max(phase.fixed, weights_of(taps) + forward(taps) + bytes.sampling);
    }
    add(std::move(phase));
  }

  void add_block(int block) {
    const std::vector<Tap> taps = model_.taps(block);
    const int64_t weights = streams() * weights_of(taps);
    int64_t previous = 0;  // the tap before, a window of which each worker has at hand
    for (const Tap& tap : taps) {
      const StreamerBytes bytes = streamer(&tap);
      const std::string place = fmt::format("block {} {}", block, tap.name);
      Phase phase;
      phase.spillable[kActivations] = activations_;
      phase.spillable[kWeights] = weights;
      Phase forward_phase = phase;
      forward_phase.place = place + ", forward and Grams";
      forward_phase.spillable[kSums] = bytes.sums;
      forward_phase.spillable[kScratch] = bytes.scratch;
      forward_phase.fixed = bytes.windows + forward(taps) +
                            kF32 * threads_ * streams() * plan_.recipe.seqlen * previous;
      previous = tap.width;
      add(std::move(forward_phase));
      phase.fixed = forward(taps);  // kept for the next block
      if (tap.by_expert) {
        add_experts(phase, place, tap, bytes.sums);
      } else {
        add_tap(phase, place, tap, bytes.sums);
      }
      note_written(tap.linears);
    }
  }

  // Error propagation, then each linear.
  void add_tap(const Phase& with, const std::string& place, const Tap& tap, int64_t sums) {
    const int64_t h = tap.width * tap.width * kF32;
    const int64_t drift_rows = tap.adds_to_residual ? model_.config().hidden : tap.width;
    const int64_t shift = plan_.recipe.propagate ? drift_rows * tap.width * kF32 : 0;
    const int64_t strip = 4 * 192 * tap.width * kF32 * threads_;
    if (plan_.recipe.propagate) {
      Phase pose = with;
      pose.place = place + ", error propagation";
      pose.spillable[kSums] = sums;
      pose.fixed += std::max(2 * h, h + shift) + strip;
      add(std::move(pose));
    }
    Phase solve = with;
    solve.place = place + ", solving";
    int64_t largest = 0;
    for (const LinearRef& linear : tap.linears) {
      largest = std::max(largest, solving(linear, threads_));
    }
    const int64_t factors = std::max<int64_t>(2, method_.memory.hessians);  // 2: for the bound
    solve.fixed += shift + h * (1 + factors) + largest;
    add(std::move(solve));
  }

  // Experts side by side, each with sums and factors of its own.
  void add_experts(const Phase& with, const std::string& place, const Tap& tap, int64_t sums) {
    const int64_t n = tap.width / tap.slots();
    Phase solve = with;
    solve.place = place + ", solving experts";
    solve.spillable[kSums] = sums;
    const int64_t at_once = std::min(kExpertsAtOnce, model_.config().experts);
    const int64_t busy = std::min<int64_t>(threads_, at_once);
    int64_t largest = 0;
    for (const LinearRef& linear : tap.linears) largest = std::max(largest, solving(linear, 1));
    const int64_t own = n * n * (kF64 + kF32 * 2);
    const int64_t extra = std::max(0, method_.memory.hessians - 1) * n * n * kF32;
    solve.fixed += at_once * own + busy * (extra + largest + n * n * kF32);
    for (const LinearRef& linear : tap.linears) {
      // Codes and scales of those that were solved together.
      if (linear.expert < at_once) solve.fixed += linear.out * linear.in;
    }
    add(std::move(solve));
  }

  // The buffer that tensors are encoded in keeps the size of the largest so far.
  void note_written(const std::vector<LinearRef>& linears) {
    for (const LinearRef& linear : linears) {
      const auto planned = quantised_.find(linear.tensor_name);
      if (planned == quantised_.end()) continue;
      written_ = std::max(written_, static_cast<int64_t>(planned->second->stored_bytes));
    }
  }

  // Embeddings and the head, where they are quantised.
  void add_outside() {
    for (const PlannedTensor& t : plan_.tensors) {
      if (t.action != TensorAction::kQuantise || t.block >= 0) continue;
      const LinearRef linear{t.role, t.name, t.shape[0], t.shape[1]};
      Tap tap;
      tap.name = t.tap;
      tap.width = linear.in;
      tap.linears = {linear};
      Phase phase{t.tap};
      phase.spillable[kActivations] = activations_;
      const int64_t w = linear.out * linear.in * kF32;
      if (t.tap == kEmbeddingTap) phase.fixed = w;
      Phase gram = phase;
      const StreamerBytes bytes = streamer(&tap);
      gram.spillable[kSums] = bytes.sums;
      gram.spillable[kScratch] = bytes.scratch;
      gram.fixed += bytes.windows;
      add(std::move(gram));
      phase.fixed += w;
      add_tap(phase, t.tap, tap, bytes.sums);
      note_written({linear});
    }
  }

  // The written file is read back, tensor by tensor, beside the source.
  void add_check() {
    Phase check{"reading back"};
    for (const PlannedTensor& t : plan_.tensors) {
      const bool quantised = t.action == TensorAction::kQuantise;
      const int64_t values =
          std::accumulate(t.shape.begin(), t.shape.end(), int64_t{1}, std::multiplies<>());
      const bool decoded = quantised || t.is_edited || t.stored_type != t.source_type;
      check.fixed = std::max(check.fixed, decoded ? values * kF32 : int64_t{0});
      check.mapped = std::max(check.mapped, static_cast<int64_t>(t.source_bytes + t.stored_bytes));
    }
    add(std::move(check));
  }

  const Model& model_;
  const Plan& plan_;
  const SolverMethod& method_;
  int threads_;
  std::unordered_map<std::string, const PlannedTensor*> quantised_;
  int64_t activations_ = 0;
  int64_t written_ = 0;
  std::vector<Phase> phases_;
};

// In the spelling that --max-ram takes.
std::string size_text(int64_t bytes) { return fmt::format("{}M", (bytes + 999'999) / 1'000'000); }

// The most of `bytes(phase)` over the phases, and where.
template <typename Bytes>
std::pair<int64_t, std::string> peak_of(const Phases& phases, Bytes bytes) {
  std::pair<int64_t, std::string> peak;
  for (const Phase& phase : phases.all()) {
    if (bytes(phase) > peak.first) peak = {bytes(phase), phase.place};
  }
  return peak;
}

Status refuse(const Plan& plan, const MemoryRequest& request, const SolverMethod& method,
              const MemoryPlan& memory) {
  std::string ways;
  const auto offer = [&ways](const char* way) {
    ways += (ways.empty() ? "" : " or ") + std::string(way);
  };
  if (request.threads > 1) offer("fewer --threads");
  if (plan.recipe.propagate) offer("--no-propagate");
  if (method.memory.hessians > 1) offer("--method gptq");
  return invalid_argument(fmt::format(
      "--max-ram {} is too little: {} takes {} even with all on disk that can be; use --max-ram {} "
      "or "
      "more{}",
      size_text(static_cast<int64_t>(request.max_ram)), memory.at_peak, size_text(memory.least),
      size_text(memory.least), ways.empty() ? "" : ", or need less by " + ways));
}

}  // namespace

Result<MemoryPlan> plan_memory(const Model& model, const Plan& plan, const SolverMethod& method,
                               const MemoryRequest& request) {
  const Phases phases(model, plan, method, request.threads);
  const int64_t program = kProgram + request.threads * kPerThread;
  const auto anonymous = [&](int64_t spilled_kinds) {
    auto peak = peak_of(phases, [&](const Phase& p) { return p.anonymous(spilled_kinds); });
    peak.first += program;
    return peak;
  };
  MemoryPlan memory;
  memory.max_ram = request.max_ram;
  std::tie(memory.peak, memory.at_peak) =
      peak_of(phases, [](const Phase& p) { return p.anonymous(0) + p.mapped; });
  memory.peak += program + kProgramFiles;
  memory.without_ceiling = memory.peak;
  constexpr auto kAll = static_cast<int64_t>(kSpillable.size());
  memory.least = anonymous(kAll).first;
  if (request.max_ram == 0) return memory;
  do {
    std::tie(memory.peak, memory.at_peak) = anonymous(memory.spilled_kinds);
    if (memory.peak <= static_cast<int64_t>(request.max_ram)) break;
  } while (++memory.spilled_kinds <= kAll);
  if (memory.spilled_kinds > kAll) return refuse(plan, request, method, memory);
  memory.spilled_peak =
      peak_of(phases, [&](const Phase& p) { return p.spilled(memory.spilled_kinds); }).first;
  return memory;
}

RunMemory run_memory(const MemoryPlan& plan, const Memory& spill) {
  const auto of = [&](int64_t kind) { return kind < plan.spilled_kinds ? &spill : &main_memory(); };
  return {{of(kActivations), of(kSums), of(kScratch)}, of(kWeights)};
}

Json memory_to_json(const MemoryPlan& memory) {
  Json json = {{"counted", memory.max_ram == 0 ? "resident" : "anonymous"},
               {"predicted_peak_bytes", memory.peak},
               {"at_peak", memory.at_peak},
               {"predicted_peak_bytes_without_ceiling", memory.without_ceiling},
               {"least_max_ram", memory.least}};
  if (memory.max_ram == 0) return json;
  json["max_ram"] = memory.max_ram;
  json["spilled"] = Json::array();
  for (int64_t i = 0; i < memory.spilled_kinds; ++i) {
    json["spilled"].push_back(kSpillable[static_cast<std::size_t>(i)]);
  }
  json["predicted_spilled_bytes"] = memory.spilled_peak;
  return json;
}

}  // namespace coldpress
