#include "calibration/tap_sizes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include "io/byte_stream.h"

namespace coldpress {
namespace {

constexpr int64_t kSampleTokens = 256;

// Of one shard.
struct Sizes {
  std::vector<float> largest;
  std::vector<double> sum;
};

Sizes sizes_of(const ActivationStore& store, int64_t first, int64_t last, MatrixF* tap) {
  const int64_t width = tap->cols();
  Sizes sizes{std::vector<float>(static_cast<std::size_t>(width)),
              std::vector<double>(static_cast<std::size_t>(width))};
  for (int64_t w = first; w < last; ++w) {
    store.get_tap(w, tap->view());
    for (int64_t t = 0; t < tap->rows(); ++t) {
      for (int64_t j = 0; j < width; ++j) {
        const auto at = static_cast<std::size_t>(j);
        const float size = std::fabs((*tap)(t, j));
        sizes.largest[at] = std::max(sizes.largest[at], size);
        sizes.sum[at] += size;
      }
    }
  }
  return sizes;
}

// The next bytes of a rank's message.
template <typename T>
void take(ByteReader* in, std::span<T> to) {
  const auto bytes = in->take_bytes(to.size_bytes());
  if (!bytes.empty()) std::memcpy(to.data(), bytes.data(), bytes.size());
}

}  // namespace

Result<OpenTap> describe_tap(Gram gram, const CalibrationWindows& windows, const ShardShare& share,
                             const ActivationStore& store, Comm& comm) {
  const int64_t width = gram.n();
  const int64_t tokens = windows.count() * windows.length;
  OpenTap open;
  open.gram = std::move(gram);
  open.max_abs.assign(static_cast<std::size_t>(width), 0.0F);
  open.mean_abs.assign(static_cast<std::size_t>(width), 0.0F);
  const int64_t samples = std::min(kSampleTokens, tokens);
  // Spread evenly, from the middle of each part.
  const auto token_of = [&](int64_t i) { return (2 * i + 1) * tokens / (2 * samples); };
  const auto rank_of = [&](int64_t token) {
    return share.rank_of(token / windows.length / kWindowsPerShard);
  };

  MatrixF tap(windows.length, width);
  ByteWriter own;  // by shard, then by sample
  for (int64_t s = 0; s < share.own_shards(); ++s) {
    const int64_t first = s * kWindowsPerShard;
    const Sizes sizes =
        sizes_of(store, first, std::min(share.own_windows(), first + kWindowsPerShard), &tap);
    own.put_bytes(std::as_bytes(std::span(sizes.largest)));
    own.put_bytes(std::as_bytes(std::span(sizes.sum)));
  }
  for (int64_t i = 0; i < samples; ++i) {
    const int64_t token = token_of(i);
    if (rank_of(token) != comm.rank()) continue;
    const int64_t window = token / windows.length;
    const int64_t at =
        share.own_shard(window / kWindowsPerShard) * kWindowsPerShard + window % kWindowsPerShard;
    store.get_row(at, width, token % windows.length, 0, width, tap.data());
    own.put_bytes(std::as_bytes(std::span(tap.data(), static_cast<std::size_t>(width))));
  }
  if (comm.rank() != share.home()) {
    if (share.own_shards() > 0) COLDPRESS_RETURN_IF_ERROR(comm.send(share.home(), own.bytes()));
    return open;
  }

  std::vector<std::vector<std::byte>> messages(static_cast<std::size_t>(comm.size()));
  std::vector<ByteReader> readers;
  for (int r = 0; r < comm.size(); ++r) {
    std::vector<std::byte>& message = messages[static_cast<std::size_t>(r)];
    bool has_shards = false;
    for (int64_t s = 0; s < share.shards() && !has_shards; ++s) has_shards = share.rank_of(s) == r;
    if (r == comm.rank()) {
      message = own.take();
    } else if (has_shards) {
      COLDPRESS_ASSIGN_OR_RETURN(message, comm.receive(r));
    }
    readers.emplace_back(message);
  }
  std::vector<double> sums(static_cast<std::size_t>(width));
  Sizes sizes{open.max_abs, sums};
  for (int64_t s = 0; s < share.shards(); ++s) {
    ByteReader& in = readers[static_cast<std::size_t>(share.rank_of(s))];
    take(&in, std::span(sizes.largest));
    take(&in, std::span(sizes.sum));
    for (std::size_t j = 0; j < sums.size(); ++j) {
      open.max_abs[j] = std::max(open.max_abs[j], sizes.largest[j]);
      sums[j] += sizes.sum[j];
    }
  }
  for (std::size_t j = 0; j < sums.size(); ++j) {
    open.mean_abs[j] = static_cast<float>(sums[j] / static_cast<double>(tokens));
  }
  open.sample = MatrixF(samples, width);
  for (int64_t i = 0; i < samples; ++i) {
    ByteReader& in = readers[static_cast<std::size_t>(rank_of(token_of(i)))];
    take(&in, std::span(open.sample.row(i), static_cast<std::size_t>(width)));
  }
  for (const ByteReader& in : readers) {
    if (!in.is_done()) return corrupt("a rank sent the sizes of another tap");
  }
  return open;
}

}  // namespace coldpress
