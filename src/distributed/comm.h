// Ranks: processes, maybe of several machines, that do one run together and send each other bytes.
// Every rank makes the same calls in the same order, each with the peer that makes the counterpart.
//
// Errors. A rank that cannot go on says so with fail(); from then on every call of every other
// rank, waiting or to come, is an error that names it and its reason. So whoever meets an error
// returns it as ever, and what started the run calls fail() with it: no rank waits for one that is
// gone.
//
// Not for what ranks do with the bytes, nor for how a run is started (distributed/open_comm.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/status.h"
#include "distributed/inbox.h"

namespace coldpress {

// Of one rank, for reports. Payload: headers are not counted.
struct CommTraffic {
  int64_t sent_bytes = 0;
  int64_t received_bytes = 0;
  int64_t messages = 0;  // sent
  double waited = 0;     // seconds in receive() and in send()
};

class Comm {
 public:
  virtual ~Comm() = default;

  virtual int rank() const = 0;  // 0 .. size() - 1
  virtual int size() const = 0;

  // A message of any size to another rank. Messages from one rank to another arrive whole and in
  // order. `bytes` may be reused on return; they may not have arrived by then.
  Status send(int to, std::span<const std::byte> bytes);
  // The next message of another rank; waits for it.
  Result<std::vector<std::byte>> receive(int from);
  // `bytes` of `root`, in every rank. Passed on from rank to rank in pieces, so that it takes about
  // as long as one message, and no rank sends more than that.
  Status broadcast(int root, std::vector<std::byte>* bytes);
  // Returns when every rank has called it.
  Status barrier();
  // The least of what the ranks give, in every rank.
  Result<int64_t> least(int64_t value);

  // This rank gives up. Without effect after the first time, or when another rank gave up before.
  virtual void fail(const Status& why) = 0;

  const CommTraffic& traffic() const { return traffic_; }

 protected:
  // One packet of at most kPacketBytes, likewise in order.
  virtual Status put(int to, Packet packet) = 0;
  virtual Result<Packet> take(int from) = 0;

  static constexpr std::size_t kPacketBytes = std::size_t{1} << 20;

 private:
  CommTraffic traffic_;
};

// The error of a rank that hears that rank `from` of `ranks` gave up.
Status failure_of(int from, int ranks, const Status& why);

// A run in one process.
class LocalComm final : public Comm {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  void fail(const Status& /*why*/) override {}

 protected:
  Status put(int to, Packet packet) override;  // there is no other rank: a bug of the caller
  Result<Packet> take(int from) override;
};

}  // namespace coldpress
