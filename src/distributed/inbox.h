// What has arrived at a rank and was not read yet: packets, per sender in order. Threads may share
// it. Both kinds of Comm that wait (comm_mpi.cc and the threads of tests) are made of it.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <vector>

#include "base/status.h"

namespace coldpress {

using Packet = std::vector<std::byte>;

class Inbox {
 public:
  explicit Inbox(int ranks)
      : packets_(static_cast<std::size_t>(ranks)), bytes_(static_cast<std::size_t>(ranks)) {}

  void deliver(int from, Packet packet);
  // No packet will be read any more: take() is this error, for those that wait too. Only the first
  // one counts.
  void close(Status why);

  // The next packet of `from`; waits for it.
  Result<Packet> take(int from);
  // Bytes of `from` that were delivered and not taken.
  std::size_t held(int from) const;
  // The error that it was closed with; success while it is open.
  Status status() const;

 private:
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::deque<Packet>> packets_;
  std::vector<std::size_t> bytes_;
  Status closed_;
};

}  // namespace coldpress
