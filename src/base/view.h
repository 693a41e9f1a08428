// Row-major matrices: a non-owning view and an owning, 64-byte aligned buffer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "base/check.h"
#include "base/memory.h"
#include "base/status.h"

namespace coldpress {

// Does not own. Element (i, j) is data[i * stride + j]; stride >= cols, in elements.
template <typename T>
struct View2 {
  T* data = nullptr;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t stride = 0;

  View2() = default;
  View2(T* d, int64_t r, int64_t c) : View2(d, r, c, c) {}
  View2(T* d, int64_t r, int64_t c, int64_t s) : data(d), rows(r), cols(c), stride(s) {}
  // A view of mutable data is also a view of const data.
  template <typename U, typename = std::enable_if_t<std::is_same_v<const U, T>>>
  View2(const View2<U>& v) : View2(v.data, v.rows, v.cols, v.stride) {}  // NOLINT

  T* row(int64_t i) const { return data + i * stride; }
  T& operator()(int64_t i, int64_t j) const { return data[i * stride + j]; }
  View2 block(int64_t row0, int64_t col0, int64_t r, int64_t c) const {
    return {data + row0 * stride + col0, r, c, stride};
  }
  View2 row_range(int64_t row0, int64_t r) const { return block(row0, 0, r, cols); }
};

// Owns rows x cols values, contiguous, 64-byte aligned, zeroed. Movable; copying is explicit. A
// large one has pages of its own, so that its memory goes back to the system with it.
template <typename T>
class Matrix {
 public:
  Matrix() = default;
  Matrix(int64_t rows, int64_t cols) : rows_(rows), cols_(cols) {
    const std::size_t bytes = bytes_of(rows, cols);
    if (bytes >= kOwnPages) {
      Result<void*> pages = main_memory().map(bytes);
      if (!pages.ok()) throw std::bad_alloc();
      data_ = {static_cast<T*>(*pages), Release{bytes}};
      return;
    }
    data_.reset(static_cast<T*>(std::aligned_alloc(64, bytes)));
    if (data_ == nullptr) throw std::bad_alloc();
    std::memset(static_cast<void*>(data_.get()), 0, bytes);
  }
  // In pages of `memory`, whose errors it passes on.
  static Result<Matrix> create(int64_t rows, int64_t cols, const Memory& memory) {
    if (&memory == &main_memory()) return Matrix(rows, cols);
    const std::size_t bytes = bytes_of(rows, cols);
    COLDPRESS_ASSIGN_OR_RETURN(void* pages, memory.map(bytes));
    Matrix m;
    m.data_ = {static_cast<T*>(pages), Release{bytes}};
    m.rows_ = rows;
    m.cols_ = cols;
    return m;
  }

  Matrix clone() const {
    Matrix m(rows_, cols_);
    if (size() > 0) std::memcpy(m.data(), data(), static_cast<std::size_t>(size()) * sizeof(T));
    return m;
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  int64_t rows() const { return rows_; }
  int64_t cols() const { return cols_; }
  int64_t size() const { return rows_ * cols_; }
  bool empty() const { return size() == 0; }
  T* row(int64_t i) { return data() + i * cols_; }
  const T* row(int64_t i) const { return data() + i * cols_; }
  T& operator()(int64_t i, int64_t j) { return data()[i * cols_ + j]; }
  const T& operator()(int64_t i, int64_t j) const { return data()[i * cols_ + j]; }
  View2<T> view() { return {data(), rows_, cols_}; }
  View2<const T> view() const { return {data(), rows_, cols_}; }

 private:
  static constexpr std::size_t kOwnPages = std::size_t{4} << 20;  // smaller: the C library's heap
  static std::size_t bytes_of(int64_t rows, int64_t cols) {
    COLDPRESS_CHECK(rows >= 0 && cols >= 0);
    const std::size_t bytes =
        static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols) * sizeof(T);
    return bytes == 0 ? 64 : (bytes + 63) / 64 * 64;
  }
  struct Release {
    std::size_t mapped = 0;  // 0: from the heap
    void operator()(T* p) const {
      if (mapped > 0) {
        unmap_pages(static_cast<void*>(p), mapped);
      } else {
        std::free(p);
      }
    }
  };
  static_assert(std::is_trivially_copyable_v<T>);
  std::unique_ptr<T, Release> data_;
  int64_t rows_ = 0;
  int64_t cols_ = 0;
};

using MatrixF = Matrix<float>;
using MatrixD = Matrix<double>;

}  // namespace coldpress
