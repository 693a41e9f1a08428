// Records of our own as little-endian bytes: numbers, strings and matrices one after the other,
// bit for bit. The reader meets hostile bytes: after a take that does not fit, ok() is false and
// values are empty. Not for the formats of others.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "base/checked.h"
#include "base/view.h"

namespace coldpress {

static_assert(std::endian::native == std::endian::little, "numbers are copied as they are");

class ByteWriter {
 public:
  template <typename T>
  void put(T value) {
    static_assert(std::is_arithmetic_v<T>);
    put_bytes(std::as_bytes(std::span(&value, 1)));
  }
  void put_bytes(std::span<const std::byte> bytes) {
    const std::size_t at = bytes_.size();
    bytes_.resize(at + bytes.size());
    if (!bytes.empty()) std::memcpy(bytes_.data() + at, bytes.data(), bytes.size());
  }
  void put_text(std::string_view text) {
    put(static_cast<uint64_t>(text.size()));
    put_bytes(std::as_bytes(std::span(text.data(), text.size())));
  }
  template <typename T>
  void put_matrix(const Matrix<T>& m) {
    put(m.rows());
    put(m.cols());
    put_bytes(std::as_bytes(std::span(m.data(), static_cast<std::size_t>(m.size()))));
  }

  std::span<const std::byte> bytes() const { return bytes_; }
  std::vector<std::byte> take() { return std::move(bytes_); }

 private:
  std::vector<std::byte> bytes_;
};

class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : rest_(bytes) {}

  bool ok() const { return ok_; }
  // Nothing failed and nothing is left.
  bool is_done() const { return ok_ && rest_.empty(); }
  std::size_t remaining() const { return rest_.size(); }

  std::span<const std::byte> take_bytes(uint64_t count) {
    if (!ok_ || count > rest_.size()) {
      ok_ = false;
      return {};
    }
    const auto taken = rest_.first(count);
    rest_ = rest_.subspan(count);
    return taken;
  }
  template <typename T>
  T take() {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
    T value{};
    const auto taken = take_bytes(sizeof(T));
    if (ok_) std::memcpy(&value, taken.data(), sizeof(T));
    return value;
  }
  std::string take_text() {
    const auto taken = take_bytes(take<uint64_t>());
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  // Memory is taken only for bytes that are there; likewise of a matrix. Empty if they are not.
  template <typename T>
  std::vector<T> take_values(uint64_t count) {
    static_assert(std::is_arithmetic_v<T> && !std::is_same_v<T, bool>);
    const auto taken = take_bytes(checked_mul(count, sizeof(T)).value_or(UINT64_MAX));
    std::vector<T> values(taken.size() / sizeof(T));
    if (!taken.empty()) std::memcpy(values.data(), taken.data(), taken.size());
    return values;
  }
  template <typename T>
  Matrix<T> take_matrix() {
    const auto rows = take<int64_t>();
    const auto cols = take<int64_t>();
    if (!ok_ || rows < 0 || cols < 0) return fail<T>();
    const auto size = checked_mul(static_cast<uint64_t>(rows), static_cast<uint64_t>(cols));
    const auto bytes = size ? checked_mul(*size, sizeof(T)) : size;
    if (!bytes) return fail<T>();
    const auto taken = take_bytes(*bytes);
    if (!ok_) return fail<T>();
    Matrix<T> m(rows, cols);
    if (!taken.empty()) std::memcpy(m.data(), taken.data(), taken.size());
    return m;
  }

 private:
  template <typename T>
  Matrix<T> fail() {
    ok_ = false;
    return {};
  }

  std::span<const std::byte> rest_;
  bool ok_ = true;
};

}  // namespace coldpress
