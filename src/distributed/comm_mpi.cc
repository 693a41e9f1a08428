// Ranks by MPI. One thread makes all MPI calls between start and end: it takes packets from the
// outbox, puts what arrives into the inbox, and listens for ranks that give up, while the others
// compute. So messages move although nobody waits for them, and whoever waits does not keep a core
// busy.
#include <fmt/format.h>
#include <mpi.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <list>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>

#include "distributed/inbox.h"
#include "distributed/open_comm.h"

namespace coldpress {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::microseconds;
using std::chrono::seconds;

constexpr int kPacketTag = 1;
constexpr int kFailureTag = 2;
constexpr std::size_t kHeldBytes = std::size_t{64} << 20;  // sent and not gone; come and not read
constexpr std::size_t kFailureBytes = 4000;  // short, so that it goes without being waited for
constexpr auto kFarewell = seconds(1);       // for packets that nobody may read, after a failure

std::string error_text(int code) {
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  return {text, static_cast<std::size_t>(length)};
}

Packet pack(const Status& why) {
  const std::string text = why.message().substr(0, kFailureBytes);
  Packet packet(1 + text.size());
  packet[0] = static_cast<std::byte>(why.code());
  std::memcpy(packet.data() + 1, text.data(), text.size());
  return packet;
}

Status unpack(const Packet& packet) {
  if (packet.empty()) return io_error("no reason is known");
  auto code = static_cast<StatusCode>(packet[0]);
  if (code <= StatusCode::kOk || code > StatusCode::kIo) code = StatusCode::kIo;
  return {code, std::string(reinterpret_cast<const char*>(packet.data()) + 1, packet.size() - 1)};
}

class MpiComm final : public Comm {
 public:
  explicit MpiComm(MPI_Comm world) : world_(world), inbox_(size_of(world)) {
    MPI_Comm_rank(world_, &rank_);
    MPI_Comm_size(world_, &size_);
    char host[MPI_MAX_PROCESSOR_NAME] = {};
    int length = 0;
    MPI_Get_processor_name(host, &length);
    host_ = host;
    thread_ = std::thread([this] { move_packets(); });
  }

  ~MpiComm() override {
    {
      const std::lock_guard lock(mutex_);
      is_ending_ = true;
      changed_.notify_all();
    }
    thread_.join();
    MPI_Finalize();  // waits for the other ranks
  }

  int rank() const override { return rank_; }
  int size() const override { return size_; }

  void fail(const Status& why) override {
    const std::lock_guard lock(mutex_);
    if (is_failed_) return;
    is_failed_ = true;
    inbox_.close(why);
    const Packet packet =
        pack(why.with_context(fmt::format("rank {} of {} on {}", rank_, size_, host_)));
    outbox_.clear();
    for (int r = 0; r < size_; ++r) {
      if (r != rank_) outbox_.push_back({r, kFailureTag, packet});
    }
    changed_.notify_all();
  }

 protected:
  Status put(int to, Packet packet) override {
    std::unique_lock lock(mutex_);
    ++waiting_;
    changed_.wait(lock, [&] { return held_ < kHeldBytes || !inbox_.status().ok(); });
    --waiting_;
    COLDPRESS_RETURN_IF_ERROR(inbox_.status());
    held_ += packet.size();
    outbox_.push_back({to, kPacketTag, std::move(packet)});
    changed_.notify_all();
    return {};
  }

  Result<Packet> take(int from) override {
    ++waiting_;
    Result<Packet> packet = inbox_.take(from);
    --waiting_;
    return packet;
  }

 private:
  struct Sending {
    int to;
    int tag;
    Packet packet;
    MPI_Request request = MPI_REQUEST_NULL;
  };

  static int size_of(MPI_Comm world) {
    int size = 0;
    MPI_Comm_size(world, &size);
    return size;
  }

  // Everything that follows is of the one thread.

  void move_packets() {
    int idle = 0;
    std::optional<Clock::time_point> ended;
    for (;;) {
      bool moved = start_sends();
      moved = finish_sends() || moved;
      moved = receive_packets() || moved;
      moved = hear_failures() || moved;
      idle = moved ? 0 : idle + 1;
      std::unique_lock lock(mutex_);
      if (is_ending_) {
        if (!ended) ended = Clock::now();
        if (outbox_.empty() && sending_.empty()) return;
        if (is_failed_ && Clock::now() - *ended > kFarewell) return;
      }
      if (moved) continue;
      if (idle < 100 && waiting_ > 0) {
        lock.unlock();
        std::this_thread::yield();
      } else if (outbox_.empty()) {
        changed_.wait_for(lock, microseconds(waiting_ > 0 ? 50 : 1000));
      }
    }
  }

  bool start_sends() {
    std::deque<Sending> fresh;
    {
      const std::lock_guard lock(mutex_);
      fresh.swap(outbox_);
    }
    for (Sending& s : fresh) {
      sending_.push_back(std::move(s));
      Sending& now = sending_.back();
      check(MPI_Isend(now.packet.data(), static_cast<int>(now.packet.size()), MPI_BYTE, now.to,
                      now.tag, world_, &now.request),
            "send to", now.to);
    }
    return !fresh.empty();
  }

  bool finish_sends() {
    bool any = false;
    std::size_t gone = 0;
    for (auto it = sending_.begin(); it != sending_.end();) {
      int done = 0;
      const bool is_well =
          check(MPI_Test(&it->request, &done, MPI_STATUS_IGNORE), "send to", it->to);
      if (is_well && done == 0) {
        ++it;
        continue;
      }
      if (it->tag == kPacketTag) gone += it->packet.size();
      it = sending_.erase(it);
      any = true;
    }
    if (!any) return false;
    const std::lock_guard lock(mutex_);
    held_ -= gone;
    changed_.notify_all();
    return true;
  }

  bool receive_packets() {
    bool any = false;
    for (int from = 0; from < size_; ++from) {
      while (from != rank_ && inbox_.held(from) < kHeldBytes) {
        std::optional<Packet> packet = receive_one(from, kPacketTag);
        if (!packet) break;
        inbox_.deliver(from, std::move(*packet));
        any = true;
      }
    }
    return any;
  }

  bool hear_failures() {
    const std::optional<Packet> packet = receive_one(MPI_ANY_SOURCE, kFailureTag);
    if (!packet) return false;
    const std::lock_guard lock(mutex_);
    is_failed_ = true;  // nobody needs to be told
    outbox_.clear();
    inbox_.close(unpack(*packet));
    changed_.notify_all();
    return true;
  }

  std::optional<Packet> receive_one(int from, int tag) {
    int there = 0;
    MPI_Status status;
    if (!check(MPI_Iprobe(from, tag, world_, &there, &status), "hear from", from) || there == 0) {
      return std::nullopt;
    }
    int count = 0;
    MPI_Get_count(&status, MPI_BYTE, &count);
    Packet packet(static_cast<std::size_t>(count));
    if (!check(MPI_Recv(packet.data(), count, MPI_BYTE, status.MPI_SOURCE, tag, world_,
                        MPI_STATUS_IGNORE),
               "receive from", status.MPI_SOURCE)) {
      return std::nullopt;
    }
    return packet;
  }

  bool check(int code, const char* action, int peer) {
    if (code == MPI_SUCCESS) return true;
    const std::string who = peer < 0 ? "any rank" : fmt::format("rank {}", peer);
    inbox_.close(io_error(fmt::format("cannot {} {}: {}", action, who, error_text(code))));
    const std::lock_guard lock(mutex_);
    changed_.notify_all();
    return false;
  }

  MPI_Comm world_;
  int rank_ = 0;
  int size_ = 1;
  std::string host_;
  Inbox inbox_;
  std::atomic<int> waiting_ = 0;  // threads in put() or take()

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Sending> outbox_;
  std::size_t held_ = 0;    // bytes of packets that have not gone
  bool is_failed_ = false;  // and every rank knows or will be told
  bool is_ending_ = false;

  std::list<Sending> sending_;
  std::thread thread_;
};

}  // namespace

Result<std::unique_ptr<Comm>> open_comm(int launched) {
  if (launched <= 1) return std::unique_ptr<Comm>(std::make_unique<LocalComm>());
  int provided = 0;
  if (MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided) != MPI_SUCCESS) {
    return io_error("MPI does not start");
  }
  if (provided < MPI_THREAD_SERIALIZED) {
    MPI_Finalize();
    return unsupported("this MPI takes calls from one thread only; use one built with threads");
  }
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  return std::unique_ptr<Comm>(std::make_unique<MpiComm>(MPI_COMM_WORLD));
}

}  // namespace coldpress
