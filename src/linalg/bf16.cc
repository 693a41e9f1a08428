#include "linalg/bf16.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace coldpress {

#ifdef __AVX512BF16__
namespace {

// An instruction takes pairs of neighbours in k, so a 32-bit word holds a pair. C is made in tiles
// of kRows x kWide, which fill the registers; an operand is packed as the tiles read it: all pairs
// of the first tile's columns, then of the next one's. kPairs of a tile's rows stay in the L1
// cache, and of 192 columns of B in L2.
constexpr int64_t kVector = 16;  // fp32 values
constexpr int64_t kRows = 8;
constexpr int64_t kVectors = 3;
constexpr int64_t kWide = kVectors * kVector;
constexpr int64_t kPairs = 512;

int64_t pairs_of(int64_t k) { return (k + 1) / 2; }
int64_t padded(int64_t cols, int64_t width) { return (cols + width - 1) / width * width; }

__mmask16 first(int64_t count) {
  return static_cast<__mmask16>((1U << std::clamp<int64_t>(count, 0, kVector)) - 1U);
}

// 16 values, those beyond `count` 0, as the lower halves of words.
__m512i lower_halves(const float* values, int64_t count) {
  const auto rounded = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(first(count), values));
  return _mm512_cvtepu16_epi32(rounded);
}

// An operand with k rows; `width` columns a tile, a multiple of 8. Columns beyond the last are 0.
void pack_rows(View2<const float> a, int64_t width, uint32_t* out) {
  const int64_t pairs = pairs_of(a.rows);
  const int64_t cols = padded(a.cols, width);
  const auto store = [&](int64_t pair, int64_t col, __m256i words) {
    uint32_t* to = out + (col / width * pairs + pair) * width + col % width;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), words);
  };
  for (int64_t pair = 0; pair < pairs; ++pair) {
    const bool is_whole = 2 * pair + 1 < a.rows;
    for (int64_t col = 0; col < cols; col += kVector) {
      const int64_t from = std::min(col, a.cols);
      const int64_t count = a.cols - from;
      __m512i words = lower_halves(a.row(2 * pair) + from, count);
      if (is_whole) {
        const __m512i next = lower_halves(a.row(2 * pair + 1) + from, count);
        words = _mm512_or_si512(words, _mm512_slli_epi32(next, 16));
      }
      store(pair, col, _mm512_castsi512_si256(words));
      if (col + kVector / 2 == cols) break;
      store(pair, col + kVector / 2, _mm512_extracti64x4_epi64(words, 1));
    }
  }
}

// The same of an operand with k columns: pairs lie beside each other already.
void pack_columns(View2<const float> a, int64_t width, uint32_t* out) {
  const int64_t pairs = pairs_of(a.cols);
  const __m512i step =
      _mm512_mullo_epi32(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                         _mm512_set1_epi32(static_cast<int>(width)));
  for (int64_t i = 0; i < padded(a.rows, width); ++i) {
    uint32_t* to = out + i / width * pairs * width + i % width;
    const int64_t count = i < a.rows ? a.cols : 0;
    const float* from = a.row(std::min(i, a.rows - 1));
    for (int64_t pair = 0; pair < pairs; pair += kVector) {
      const int64_t k = 2 * pair;
      const int64_t k2 = std::min(k + kVector, a.cols);
      const __m512 low = _mm512_maskz_loadu_ps(first(count - k), from + k);
      const __m512 high = _mm512_maskz_loadu_ps(first(count - k2), from + k2);
      _mm512_mask_i32scatter_epi32(to + pair * width, first(pairs - pair), step,
                                   (__m512i)_mm512_cvtne2ps_pbh(high, low), 4);
    }
  }
}

// c (rows <= kRows, cols <= kWide) <- c + the products of `pairs`, or these alone.
void multiply_tile(const uint32_t* a, const uint32_t* b, int64_t pairs, bool add, View2<float> c) {
  __m512 sum[kRows][kVectors];
  __mmask16 mask[kVectors];
  for (int64_t v = 0; v < kVectors; ++v) mask[v] = first(c.cols - v * kVector);
  for (int64_t i = 0; i < kRows; ++i) {
    for (int64_t v = 0; v < kVectors; ++v) {
      sum[i][v] = add && i < c.rows ? _mm512_maskz_loadu_ps(mask[v], c.row(i) + v * kVector)
                                    : _mm512_setzero_ps();
    }
  }
  for (int64_t k = 0; k < pairs; ++k) {
    __m512bh wide[kVectors];
    for (int64_t v = 0; v < kVectors; ++v) {
      wide[v] = (__m512bh)_mm512_loadu_si512(b + k * kWide + v * kVector);
    }
    for (int64_t i = 0; i < kRows; ++i) {
      const auto left = (__m512bh)_mm512_set1_epi32(static_cast<int>(a[k * kRows + i]));
      for (int64_t v = 0; v < kVectors; ++v) {
        sum[i][v] = _mm512_dpbf16_ps(sum[i][v], left, wide[v]);
      }
    }
  }
  for (int64_t i = 0; i < std::min(kRows, c.rows); ++i) {
    for (int64_t v = 0; v < kVectors; ++v) {
      _mm512_mask_storeu_ps(c.row(i) + v * kVector, mask[v], sum[i][v]);
    }
  }
}

void multiply_packed(const uint32_t* a, const uint32_t* b, int64_t pairs, bool add,
                     View2<float> c) {
  for (int64_t pair = 0; pair < pairs; pair += kPairs) {
    const int64_t count = std::min(kPairs, pairs - pair);
    for (int64_t i = 0; i < c.rows; i += kRows) {
      for (int64_t j = 0; j < c.cols; j += kWide) {
        multiply_tile(a + i * pairs + pair * kRows, b + j * pairs + pair * kWide, count,
                      add || pair > 0,
                      c.block(i, j, std::min(kRows, c.rows - i), std::min(kWide, c.cols - j)));
      }
    }
  }
}

// In `room`, which grows to what it takes. `is_k_first`: k is counted by the operand's rows.
const uint32_t* packed(bool is_k_first, View2<const float> a, int64_t width,
                       std::vector<uint32_t>* room) {
  const int64_t k = is_k_first ? a.rows : a.cols;
  const int64_t others = is_k_first ? a.cols : a.rows;
  const auto size = static_cast<std::size_t>(pairs_of(k) * padded(others, width));
  if (room->size() < size) room->resize(size);
  if (is_k_first) {
    pack_rows(a, width, room->data());
  } else {
    pack_columns(a, width, room->data());
  }
  return room->data();
}

}  // namespace

bool has_bf16_products() { return true; }

void gemm_bf16(Trans ta, Trans tb, View2<const float> a, View2<const float> b, bool add,
               View2<float> c, Bf16Scratch* scratch) {
  const int64_t k = ta == Trans::kYes ? a.rows : a.cols;
  COLDPRESS_CHECK(k > 0 && k == (tb == Trans::kNo ? b.rows : b.cols));
  COLDPRESS_CHECK(c.rows == (ta == Trans::kYes ? a.cols : a.rows));
  COLDPRESS_CHECK(c.cols == (tb == Trans::kNo ? b.cols : b.rows));
  if (c.rows == 0 || c.cols == 0) return;
  multiply_packed(packed(ta == Trans::kYes, a, kRows, &scratch->left),
                  packed(tb == Trans::kNo, b, kWide, &scratch->right), pairs_of(k), add, c);
}

Bf16Left::Bf16Left(MatrixF transposed) : rows_(transposed.cols()), cols_(transposed.rows()) {
  packed_ = Matrix<uint32_t>(padded(rows_, kRows), pairs_of(cols_));
  pack_rows(transposed.view(), kRows, packed_.data());
}

void Bf16Left::multiply(View2<const float> b, View2<float> c, Bf16Scratch* scratch) const {
  COLDPRESS_CHECK(cols_ == b.rows && rows_ == c.rows && b.cols == c.cols && cols_ > 0);
  multiply_packed(packed_.data(), packed(true, b, kWide, &scratch->right), pairs_of(cols_), false,
                  c);
}

#else

bool has_bf16_products() { return false; }

void gemm_bf16(Trans ta, Trans tb, View2<const float> a, View2<const float> b, bool add,
               View2<float> c, Bf16Scratch* /*scratch*/) {
  gemm(ta, tb, 1.0F, a, b, add ? 1.0F : 0.0F, c);
}

Bf16Left::Bf16Left(MatrixF transposed)
    : rows_(transposed.cols()), cols_(transposed.rows()), transposed_(std::move(transposed)) {}

void Bf16Left::multiply(View2<const float> b, View2<float> c, Bf16Scratch* /*scratch*/) const {
  gemm(Trans::kYes, Trans::kNo, 1.0F, transposed_.view(), b, 0.0F, c);
}

#endif

}  // namespace coldpress
