#include "pipeline/disk_space.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "grid/block_format.h"
#include "grid/table.h"
#include "io/file.h"

namespace coldpress {
namespace {

constexpr double kScaleBytes = 10;    // of a group: scale, zero, and its share of units
constexpr double kEntryBytes = 20;    // of an outlier
constexpr double kEntryBits = 28;     // that a plan counts for one
constexpr double kBookBits = 4;       // of a code on a grid with a book, at most
constexpr double kRecordBytes = 1e3;  // beside codes, scales and outliers

double journal_bytes(const PlannedTensor& tensor) {
  double weights = 1;
  for (const int64_t n : tensor.shape) weights *= static_cast<double>(n);
  const auto kind = find_grid(tensor.grid.kind);
  const bool has_book = kind.ok() && (*kind)->book != nullptr;
  const double bits = has_book ? kBookBits : static_cast<double>(tensor.grid.bits);
  int64_t group = tensor.grid.group;
  if (kind.ok() && (*kind)->block != nullptr) group = (*kind)->block->group;
  if (group == 0) group = tensor.shape.empty() ? 1 : std::max<int64_t>(1, tensor.shape.back());
  const double outliers =
      std::max(0.0, tensor.bits_per_weight - tensor.grid_bits_per_weight) / kEntryBits;
  return weights * (bits / 8 + kScaleBytes / static_cast<double>(group) + outliers * kEntryBytes) +
         kRecordBytes * static_cast<double>(std::max<int64_t>(1, tensor.linears));
}

std::string megabytes(uint64_t bytes) {
  return fmt::format("{:.0f} MB", std::ceil(static_cast<double>(bytes) / 1e6));
}

}  // namespace

DiskNeeds disk_needs(const Model& model, const Plan& plan, int streams) {
  DiskNeeds needs;
  double journal = 0;
  for (const PlannedTensor& tensor : plan.tensors) {
    needs.output += tensor.stored_bytes;
    if (tensor.action == TensorAction::kQuantise) journal += journal_bytes(tensor);
  }
  needs.journal = static_cast<uint64_t>(journal);
  const double stream = static_cast<double>(plan.recipe.samples) *
                        static_cast<double>(plan.recipe.seqlen) *
                        static_cast<double>(model.config().hidden) * sizeof(float);
  needs.activations = static_cast<uint64_t>(1.5 * streams * stream);
  return needs;
}

Status check_disk_space(const std::filesystem::path& out, const DiskNeeds& needs, uint64_t used) {
  const std::filesystem::path parent = without_trailing_slash(out).parent_path();
  const auto free = free_bytes(parent.empty() ? "." : parent);
  if (!free.ok()) return {};  // whoever writes there says what is wrong
  if (needs.sum() <= *free + used) return {};
  return io_error(fmt::format(
      "{} needs {} of disk ({} for the output, {} to go on after an interruption) and there are "
      "{}; free some space, choose another place, or do without the latter by --no-resume",
      out.string(), megabytes(needs.sum()), megabytes(needs.output),
      megabytes(needs.journal + needs.activations), megabytes(*free)));
}

}  // namespace coldpress
