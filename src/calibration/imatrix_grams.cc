#include "calibration/imatrix_grams.h"

#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "calibration/imatrix_collector.h"

namespace coldpress {
namespace {

// Of `count` matrices from `first` on, pooled.
Gram gram_of(const ImatrixEntry& entry, int64_t first, int64_t count) {
  std::vector<double> sums(static_cast<std::size_t>(entry.columns));
  int64_t tokens = 0;
  for (int64_t m = first; m < first + count; ++m) {
    const float* row = entry.sums.data() + m * entry.columns;
    for (std::size_t j = 0; j < sums.size(); ++j) sums[j] += static_cast<double>(row[j]);
    tokens += entry.count(m);
  }
  return Gram::diagonal(sums, tokens);
}

}  // namespace

Result<ImatrixGrams> ImatrixGrams::create(const Model& model, const Imatrix& imatrix,
                                          const std::string& where) {
  ImatrixGrams grams(model, imatrix);
  for (int block = 0; block < model.config().blocks; ++block) {
    for (const Tap& tap : model.taps(block)) {
      const std::string role = tap.linears.front().role;
      const std::string name = gguf_tensor_name(model, role, block).value_or(role);
      const ImatrixEntry* entry = grams.entry_of(tap, block);
      if (entry == nullptr) return not_found(fmt::format("{} has no entry for {}", where, name));
      const int64_t columns = tap.width / tap.slots();
      const int64_t matrices = tap.by_expert ? model.config().experts : 1;
      if (entry->columns != columns || entry->matrices() != matrices) {
        return invalid_argument(fmt::format(
            "{}: {} has {} x {} inputs, but the model's has {} x {}; the file belongs to another "
            "model",
            where, name, entry->matrices(), entry->columns, matrices, columns));
      }
      const auto is_zero = [](int64_t count) { return count == 0; };
      if (std::all_of(entry->counts.begin(), entry->counts.end(), is_zero)) {
        return invalid_argument(fmt::format("{}: {} was measured on no token", where, name));
      }
    }
  }
  return grams;
}

const ImatrixEntry* ImatrixGrams::entry_of(const Tap& tap, int block) const {
  const auto name = gguf_tensor_name(model_, tap.linears.front().role, block);
  return name ? imatrix_.find(*name) : nullptr;
}

Result<TapSums> ImatrixGrams::run_stage(const BlockWeights& /*weights*/,
                                        const BlockWeights* /*source*/, int block, int stage,
                                        const std::vector<Tap>& taps) {
  block_ = block;
  if (static_cast<std::size_t>(stage) == taps.size()) return TapSums();
  const ImatrixEntry* entry = entry_of(taps[static_cast<std::size_t>(stage)], block);
  COLDPRESS_CHECK(entry != nullptr);  // create() has looked
  return TapSums{gram_of(*entry, 0, entry->matrices()), {}};
}

Result<TapSums> ImatrixGrams::head_gram(const HeadWeights& /*head*/) {
  const int64_t hidden = model_.config().hidden;
  const ImatrixEntry* entry = imatrix_.find("output.weight");
  if (entry != nullptr && entry->columns == hidden && entry->matrices() == 1 &&
      entry->count(0) > 0) {
    return TapSums{gram_of(*entry, 0, 1), {}};
  }
  return TapSums{Gram::diagonal(std::vector<double>(static_cast<std::size_t>(hidden), 1.0), 1), {}};
}

Result<std::vector<Gram>> ImatrixGrams::expert_grams(const Tap& tap, int64_t first,
                                                     std::span<const int> owners) {
  const ImatrixEntry* entry = entry_of(tap, block_);
  COLDPRESS_CHECK(entry != nullptr);
  std::vector<Gram> grams;
  for (int64_t e = first; e < first + std::ssize(owners); ++e) {
    grams.push_back(gram_of(*entry, e, 1));
  }
  return grams;
}

}  // namespace coldpress
