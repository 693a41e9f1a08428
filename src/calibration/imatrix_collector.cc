#include "calibration/imatrix_collector.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "calibration/streamer.h"

namespace coldpress {
namespace {

constexpr int64_t kExpertsAtOnce = 8;

void append_diagonal(const Gram& gram, ImatrixEntry& entry) {
  for (int64_t j = 0; j < gram.n(); ++j) {
    entry.sums.push_back(static_cast<float>(gram.sum()(j, j)));
  }
  entry.counts.push_back(gram.tokens());
}

// Roles of the matrices that read a tap, in the order of their declaration; those of experts apart.
struct Readers {
  std::vector<std::string> dense;
  std::vector<std::string> experts;
};

Readers readers_of(const Model& model, const Tap& tap, int block) {
  Readers readers;
  for (const LinearRef& linear : tap.linears) {
    if (linear.expert > 0) continue;  // the first stands for its role
    (linear.expert < 0 ? readers.dense : readers.experts).push_back(linear.role);
  }
  for (const RoleSpec& role : model.architecture().roles) {
    if (!role.is_kept || role.tap != tap.name) continue;  // a router
    const std::string name(role.role);
    if (model.role_tensor(name, block)) readers.dense.push_back(name);
  }
  return readers;
}

// One copy of `entry` for each role.
Status add_entries(const Model& model, int block, const std::vector<std::string>& roles,
                   ImatrixEntry entry, Imatrix& imatrix) {
  for (const std::string& role : roles) {
    const auto name = gguf_tensor_name(model, role, block);
    if (!name) {
      return unsupported(
          fmt::format("{}: {} of block {} has no name in GGUF, which an imatrix "
                      "needs",
                      model.path().string(), role, block));
    }
    entry.tensor = *name;
    imatrix.entries.push_back(entry);
  }
  return {};
}

Status add_tap(const Model& model, int block, const Tap& tap, const Gram& gram,
               CalibrationStreamer& streamer, Imatrix& imatrix) {
  const Readers readers = readers_of(model, tap, block);
  ImatrixEntry dense;
  dense.columns = gram.n();
  append_diagonal(gram, dense);
  COLDPRESS_RETURN_IF_ERROR(add_entries(model, block, readers.dense, std::move(dense), imatrix));
  if (readers.experts.empty()) return {};
  ImatrixEntry of_experts;
  of_experts.columns = gram.n();
  const int64_t experts = model.config().experts;
  for (int64_t first = 0; first < experts; first += kExpertsAtOnce) {
    const std::vector<int> owners(
        static_cast<std::size_t>(std::min(kExpertsAtOnce, experts - first)), streamer.home());
    COLDPRESS_ASSIGN_OR_RETURN(const std::vector<Gram> own,
                               streamer.expert_grams(tap, first, owners));
    for (const Gram& g : own) append_diagonal(g, of_experts);
  }
  return add_entries(model, block, readers.experts, std::move(of_experts), imatrix);
}

}  // namespace

std::optional<std::string> gguf_tensor_name(const Model& model, const std::string& role,
                                            int block) {
  const RoleSpec* spec = find_role(model.architecture(), role);
  const std::string name =
      spec == nullptr ? std::string() : tensor_name(*spec, Naming::kGguf, block);
  if (name.empty()) return std::nullopt;
  return name;
}

Result<Imatrix> collect_imatrix(const Model& model, const CalibrationWindows& windows,
                                const std::function<void(int64_t done, int64_t total)>& progress,
                                ThreadPool& pool) {
  Imatrix imatrix;
  imatrix.chunks = windows.count();
  imatrix.chunk_size = windows.length;
  for (const WindowSource& source : windows.sources) imatrix.datasets.push_back(source.name);
  CalibrationStreamer streamer(model, windows, pool, false, {.taps = TapType::kSingle});
  {
    COLDPRESS_ASSIGN_OR_RETURN(const HeadWeights head, HeadWeights::load(model));
    COLDPRESS_RETURN_IF_ERROR(streamer.embed(head));
  }
  const auto blocks = static_cast<int>(model.config().blocks);
  for (int block = 0; block < blocks; ++block) {
    COLDPRESS_ASSIGN_OR_RETURN(const BlockWeights weights, BlockWeights::load(model, block));
    const std::vector<Tap> taps = model.taps(block);
    for (std::size_t stage = 0; stage <= taps.size(); ++stage) {
      COLDPRESS_ASSIGN_OR_RETURN(
          const TapSums sums,
          streamer.run_stage(weights, nullptr, block, static_cast<int>(stage), taps));
      if (stage == taps.size()) break;
      COLDPRESS_RETURN_IF_ERROR(add_tap(model, block, taps[stage], sums.gram, streamer, imatrix));
    }
    if (progress) progress(block + 1, blocks);
  }
  return imatrix;
}

}  // namespace coldpress
