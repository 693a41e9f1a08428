// Small unsigned codes in 32-bit words, least significant bits first. Two conventions exist: codes
// that follow each other without a gap, across words (GPTQ, compressed-tensors), and codes that
// never straddle a word, whose spare top bits are unused (older compressed-tensors). They agree
// where the bits divide 32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

namespace coldpress {

// Word `i` of little-endian bytes, which need not be aligned.
inline uint32_t word_at(std::span<const std::byte> bytes, std::size_t i) {
  uint32_t word = 0;
  std::memcpy(&word, bytes.data() + i * sizeof(word), sizeof(word));
  return word;
}

// Code `i` of a gapless stream whose word w is element w * stride + offset of `words`.
inline uint32_t stream_code(std::span<const std::byte> words, std::size_t offset,
                            std::size_t stride, int bits, std::size_t i) {
  const std::size_t bit = i * static_cast<std::size_t>(bits);
  const int shift = static_cast<int>(bit % 32);
  uint64_t both = word_at(words, (bit / 32) * stride + offset);
  if (shift + bits > 32) {
    both |= static_cast<uint64_t>(word_at(words, (bit / 32 + 1) * stride + offset)) << 32;
  }
  return static_cast<uint32_t>(both >> shift) & ((1U << bits) - 1);
}

// The inverse: adds code `i` to words that are zero where it goes.
inline void put_stream_code(std::span<std::byte> words, std::size_t offset, std::size_t stride,
                            int bits, std::size_t i, uint32_t code) {
  const std::size_t bit = i * static_cast<std::size_t>(bits);
  const uint64_t both = static_cast<uint64_t>(code) << (bit % 32);
  const auto add = [words](std::size_t at, uint32_t part) {
    const uint32_t word = word_at(words, at) | part;
    std::memcpy(words.data() + at * sizeof(word), &word, sizeof(word));
  };
  add((bit / 32) * stride + offset, static_cast<uint32_t>(both));
  if (both >> 32 != 0) add((bit / 32 + 1) * stride + offset, static_cast<uint32_t>(both >> 32));
}

// Code `i` of words that hold 32 / bits codes each.
inline uint32_t word_code(std::span<const std::byte> words, std::size_t offset, std::size_t stride,
                          int bits, std::size_t i) {
  const auto per_word = static_cast<std::size_t>(32 / bits);
  const auto shift = static_cast<int>(i % per_word) * bits;
  return (word_at(words, (i / per_word) * stride + offset) >> shift) & ((1U << bits) - 1);
}

}  // namespace coldpress
