// Content hashes for manifests and reports: to tell two inputs apart, not against an adversary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

namespace coldpress {

// XXH3-128 of the bytes, 32 hexadecimal digits in the canonical (big-endian) order.
std::string xxh3_128_hex(std::string_view bytes);
uint64_t xxh3_64(std::span<const std::byte> bytes);

// xxh3_128_hex of bytes that come piece by piece.
class Xxh3Stream {
 public:
  Xxh3Stream();
  ~Xxh3Stream();
  void add(std::span<const std::byte> bytes);
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace coldpress
