// Ranks as threads of one process, and messages that fail on purpose.
#pragma once

#include <fmt/format.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "distributed/comm.h"

namespace coldpress::test {

class ThreadRanks {
 public:
  // The packet number `failing` of all ranks together, from 0 on, cannot be sent; -1: none.
  explicit ThreadRanks(int ranks, int64_t failing = -1) : failing_(failing) {
    for (int r = 0; r < ranks; ++r) inboxes_.push_back(std::make_unique<Inbox>(ranks));
  }

  // Runs `work` once as every rank, each in a thread of its own; an error that it returns is given
  // to fail(). What each returned.
  std::vector<Status> run(const std::function<Status(Comm& comm)>& work) {
    std::vector<Status> results(inboxes_.size());
    std::vector<std::thread> threads;
    for (int r = 0; r < static_cast<int>(inboxes_.size()); ++r) {
      threads.emplace_back([&, r] {
        Rank comm(*this, r);
        Status status = work(comm);
        if (!status.ok()) comm.fail(status);
        results[static_cast<std::size_t>(r)] = std::move(status);
      });
    }
    for (std::thread& t : threads) t.join();
    return results;
  }

  int64_t packets() const { return packets_; }

 private:
  class Rank final : public Comm {
   public:
    Rank(ThreadRanks& ranks, int rank) : ranks_(ranks), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return static_cast<int>(ranks_.inboxes_.size()); }
    void fail(const Status& why) override {
      if (!own().status().ok()) return;
      for (const auto& inbox : ranks_.inboxes_) inbox->close(failure_of(rank_, size(), why));
    }

   protected:
    Status put(int to, Packet packet) override {
      COLDPRESS_RETURN_IF_ERROR(own().status());
      if (ranks_.packets_++ == ranks_.failing_) {
        return io_error(fmt::format("cannot send to rank {}: made to fail", to));
      }
      ranks_.inboxes_[static_cast<std::size_t>(to)]->deliver(rank_, std::move(packet));
      return {};
    }
    Result<Packet> take(int from) override { return own().take(from); }

   private:
    Inbox& own() const { return *ranks_.inboxes_[static_cast<std::size_t>(rank_)]; }

    ThreadRanks& ranks_;
    int rank_;
  };

  std::vector<std::unique_ptr<Inbox>> inboxes_;
  int64_t failing_;
  std::atomic<int64_t> packets_ = 0;
};

}  // namespace coldpress::test
