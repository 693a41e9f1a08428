#include "distributed/comm.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

namespace coldpress {
namespace {

using Clock = std::chrono::steady_clock;

class Waiting {
 public:
  explicit Waiting(double* seconds) : seconds_(seconds), start_(Clock::now()) {}
  ~Waiting() { *seconds_ += std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  double* seconds_;
  Clock::time_point start_;
};

constexpr std::size_t kHeaderBytes = sizeof(uint64_t);  // a message starts with its size

}  // namespace

Status Comm::send(int to, std::span<const std::byte> bytes) {
  COLDPRESS_CHECK(to >= 0 && to < size() && to != rank());
  const Waiting waiting(&traffic_.waited);
  const uint64_t total = bytes.size();
  Packet packet(kHeaderBytes);
  std::memcpy(packet.data(), &total, kHeaderBytes);
  do {
    const std::size_t room = kPacketBytes - packet.size();
    const auto part = bytes.first(std::min(room, bytes.size()));
    packet.insert(packet.end(), part.begin(), part.end());
    bytes = bytes.subspan(part.size());
    COLDPRESS_RETURN_IF_ERROR(put(to, std::exchange(packet, {})));
  } while (!bytes.empty());
  traffic_.sent_bytes += static_cast<int64_t>(total);
  ++traffic_.messages;
  return {};
}

Result<std::vector<std::byte>> Comm::receive(int from) {
  COLDPRESS_CHECK(from >= 0 && from < size() && from != rank());
  const Waiting waiting(&traffic_.waited);
  COLDPRESS_ASSIGN_OR_RETURN(Packet message, take(from));
  uint64_t total = 0;
  const auto bad = [from] { return corrupt(fmt::format("rank {} sent a broken message", from)); };
  if (message.size() < kHeaderBytes) return bad();
  std::memcpy(&total, message.data(), kHeaderBytes);
  message.erase(message.begin(), message.begin() + kHeaderBytes);
  while (message.size() < total) {
    COLDPRESS_ASSIGN_OR_RETURN(const Packet packet, take(from));
    if (packet.empty()) return bad();
    message.insert(message.end(), packet.begin(), packet.end());
  }
  if (message.size() > total) return bad();
  traffic_.received_bytes += static_cast<int64_t>(total);
  return message;
}

Status Comm::broadcast(int root, std::vector<std::byte>* bytes) {
  if (size() == 1) return {};
  const int next = (rank() + 1) % size();
  const int before = (rank() + size() - 1) % size();
  const bool is_last = next == root;
  // Pieces of a packet each; a shorter one ends the message.
  constexpr std::size_t kPiece = kPacketBytes - kHeaderBytes;
  if (rank() == root) {
    std::span<const std::byte> rest(*bytes);
    for (bool ended = false; !ended;) {
      const auto piece = rest.first(std::min(kPiece, rest.size()));
      COLDPRESS_RETURN_IF_ERROR(send(next, piece));
      rest = rest.subspan(piece.size());
      ended = piece.size() < kPiece;
    }
    return {};
  }
  bytes->clear();
  for (bool ended = false; !ended;) {
    COLDPRESS_ASSIGN_OR_RETURN(const std::vector<std::byte> piece, receive(before));
    if (!is_last) COLDPRESS_RETURN_IF_ERROR(send(next, piece));
    bytes->insert(bytes->end(), piece.begin(), piece.end());
    ended = piece.size() < kPiece;
  }
  return {};
}

Status Comm::barrier() {
  if (size() == 1) return {};
  const int next = (rank() + 1) % size();
  const int before = (rank() + size() - 1) % size();
  for (int round = 0; round < 2; ++round) {  // all have come; all know it
    if (rank() == 0) COLDPRESS_RETURN_IF_ERROR(send(next, {}));
    COLDPRESS_RETURN_IF_ERROR(receive(before).status());
    if (rank() != 0) COLDPRESS_RETURN_IF_ERROR(send(next, {}));
  }
  return {};
}

Result<int64_t> Comm::least(int64_t value) {
  std::vector<std::byte> bytes(sizeof(value));
  const auto merge = [&](std::span<const std::byte> other) {
    int64_t theirs = value;
    if (other.size() == sizeof(theirs)) std::memcpy(&theirs, other.data(), sizeof(theirs));
    value = std::min(value, theirs);
    std::memcpy(bytes.data(), &value, sizeof(value));
  };
  merge({});
  if (rank() > 0) {
    COLDPRESS_ASSIGN_OR_RETURN(const std::vector<std::byte> before, receive(rank() - 1));
    merge(before);
  }
  if (rank() + 1 < size()) COLDPRESS_RETURN_IF_ERROR(send(rank() + 1, bytes));
  COLDPRESS_RETURN_IF_ERROR(broadcast(size() - 1, &bytes));
  merge(bytes);
  return value;
}

Status failure_of(int from, int ranks, const Status& why) {
  return why.with_context(fmt::format("rank {} of {}", from, ranks));
}

Status LocalComm::put(int /*to*/, Packet /*packet*/) {
  COLDPRESS_CHECK(false);
  return {};
}

Result<Packet> LocalComm::take(int /*from*/) {
  COLDPRESS_CHECK(false);
  return Packet();
}

}  // namespace coldpress
