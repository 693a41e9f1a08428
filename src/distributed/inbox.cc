#include "distributed/inbox.h"

#include <utility>

namespace coldpress {

void Inbox::deliver(int from, Packet packet) {
  const std::lock_guard lock(mutex_);
  bytes_[static_cast<std::size_t>(from)] += packet.size();
  packets_[static_cast<std::size_t>(from)].push_back(std::move(packet));
  changed_.notify_all();
}

void Inbox::close(Status why) {
  COLDPRESS_CHECK(!why.ok());
  const std::lock_guard lock(mutex_);
  if (!closed_.ok()) return;
  closed_ = std::move(why);
  changed_.notify_all();
}

Result<Packet> Inbox::take(int from) {
  const auto at = static_cast<std::size_t>(from);
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] { return !closed_.ok() || !packets_[at].empty(); });
  if (!closed_.ok()) return closed_;
  Packet packet = std::move(packets_[at].front());
  packets_[at].pop_front();
  bytes_[at] -= packet.size();
  return packet;
}

std::size_t Inbox::held(int from) const {
  const std::lock_guard lock(mutex_);
  return bytes_[static_cast<std::size_t>(from)];
}

Status Inbox::status() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

}  // namespace coldpress
