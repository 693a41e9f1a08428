#include "calibration/sum_chain.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <utility>

namespace coldpress {
namespace {

constexpr int64_t kStretch = 120000;  // doubles in a message, unless a row has more

struct Row {
  const SumPart* part;
  int64_t i;
  int64_t count() const { return part->is_lower ? i + 1 : part->total.cols; }
  double* total() const { return part->total.row(i); }
};

// Consecutive rows that go in one message.
struct Stretch {
  std::vector<Row> rows;
  int64_t count = 0;

  std::vector<std::byte> pack() const {
    std::vector<std::byte> bytes(static_cast<std::size_t>(count) * sizeof(double));
    std::byte* at = bytes.data();
    for (const Row& row : rows) {
      const auto size = static_cast<std::size_t>(row.count()) * sizeof(double);
      std::memcpy(at, row.total(), size);
      at += size;
    }
    return bytes;
  }

  Status unpack(std::span<const std::byte> bytes, int from) const {
    if (bytes.size() != static_cast<std::size_t>(count) * sizeof(double)) {
      return corrupt(fmt::format("rank {} sent sums of another shape", from));
    }
    const std::byte* at = bytes.data();
    for (const Row& row : rows) {
      const auto size = static_cast<std::size_t>(row.count()) * sizeof(double);
      std::memcpy(row.total(), at, size);
      at += size;
    }
    return {};
  }

  void add_shards() const {
    for (const Row& row : rows) {
      double* total = row.total();
      for (const View2<const float>& shard : row.part->shards) {
        const float* add = shard.row(row.i);
        for (int64_t j = 0; j < row.count(); ++j) total[j] += static_cast<double>(add[j]);
      }
    }
  }
};

// f(stretch) for all rows of all parts in order, until an error.
template <typename F>
Status each_stretch(std::span<const SumPart> parts, F&& f) {
  Stretch stretch;
  for (const SumPart& part : parts) {
    for (int64_t i = 0; i < part.total.rows; ++i) {
      const Row row{&part, i};
      if (stretch.count > 0 && stretch.count + row.count() > kStretch) {
        COLDPRESS_RETURN_IF_ERROR(f(std::as_const(stretch)));
        stretch = {};
      }
      stretch.rows.push_back(row);
      stretch.count += row.count();
    }
  }
  return stretch.count > 0 ? f(std::as_const(stretch)) : Status();
}

Status take(const Stretch& stretch, int from, Comm& comm) {
  COLDPRESS_ASSIGN_OR_RETURN(const std::vector<std::byte> bytes, comm.receive(from));
  return stretch.unpack(bytes, from);
}

}  // namespace

std::vector<SumPart> parts_of(TapSums* sums) {
  std::vector<SumPart> parts = {{sums->gram.sum(), true}};
  if (sums->drift.is_measured()) {
    parts.push_back({sums->drift.even.sum(), true});
    for (MatrixD& half : sums->drift.halves) parts.push_back({half.view()});
  }
  return parts;
}

Status add_shards(std::span<const SumPart> parts, int before, int after, Comm& comm) {
  return each_stretch(parts, [&](const Stretch& stretch) -> Status {
    if (before >= 0) COLDPRESS_RETURN_IF_ERROR(take(stretch, before, comm));
    stretch.add_shards();
    return after >= 0 ? comm.send(after, stretch.pack()) : Status();
  });
}

Status give_sums(int home, std::span<const int> owners, TapSums* sums, Comm& comm) {
  if (home == kEveryRank || comm.size() == 1) return {};
  const bool owns = std::find(owners.begin(), owners.end(), comm.rank()) != owners.end();
  if (comm.rank() != home && !owns) return {};
  return each_stretch(parts_of(sums), [&](const Stretch& stretch) -> Status {
    if (comm.rank() != home) return take(stretch, home, comm);
    const std::vector<std::byte> bytes = stretch.pack();
    for (int r = 0; r < comm.size(); ++r) {
      if (r == home || std::find(owners.begin(), owners.end(), r) == owners.end()) continue;
      COLDPRESS_RETURN_IF_ERROR(comm.send(r, bytes));
    }
    return {};
  });
}

}  // namespace coldpress
