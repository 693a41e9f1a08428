#include "solver/solution_bytes.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <optional>
#include <utility>

#include "base/checked.h"
#include "grid/codebook.h"
#include "io/bit_stream.h"
#include "io/byte_stream.h"

namespace coldpress {
namespace {

int code_bits(int levels) {
  return std::max(1, static_cast<int>(std::bit_width(static_cast<unsigned>(levels - 1))));
}

// Whole 32-bit words.
std::optional<uint64_t> packed_bytes(uint64_t rows, uint64_t cols, int bits) {
  const auto codes = checked_mul(rows, cols);
  const auto total = codes ? checked_mul(*codes, static_cast<uint64_t>(bits)) : codes;
  if (!total) return std::nullopt;
  return (*total / 32 + (*total % 32 != 0 ? 1 : 0)) * 4;
}

void put_codes(const Matrix<uint8_t>& codes, int bits, ByteWriter* out) {
  std::vector<std::byte> words(*packed_bytes(static_cast<uint64_t>(codes.rows()),
                                             static_cast<uint64_t>(codes.cols()), bits));
  const auto count = static_cast<std::size_t>(codes.size());
  if (bits == 8) {
    if (count > 0) std::memcpy(words.data(), codes.data(), count);
  } else {
    for (std::size_t i = 0; i < count; ++i) {
      put_stream_code(words, 0, 1, bits, i, codes.data()[i]);
    }
  }
  out->put_bytes(words);
}

// Of `grid`, which is checked. No codes: there are too few bytes.
Matrix<uint8_t> take_codes(const QuantGrid& grid, ByteReader* in) {
  const int bits = code_bits(grid.levels);
  const auto size =
      packed_bytes(static_cast<uint64_t>(grid.rows), static_cast<uint64_t>(grid.cols), bits);
  const auto words = in->take_bytes(size.value_or(UINT64_MAX));
  if (!in->ok()) return {};
  Matrix<uint8_t> codes(grid.rows, grid.cols);
  const auto count = static_cast<std::size_t>(codes.size());
  if (bits == 8) {
    if (count > 0) std::memcpy(codes.data(), words.data(), count);
  } else {
    for (std::size_t i = 0; i < count; ++i) {
      codes.data()[i] = static_cast<uint8_t>(stream_code(words, 0, 1, bits, i));
    }
  }
  return codes;
}

void put_rule(const ScaleRule& rule, ByteWriter* out) {
  out->put(static_cast<int32_t>(rule.type));
  out->put(rule.groups_per_unit);
  out->put(static_cast<int32_t>(rule.lo));
  out->put(static_cast<int32_t>(rule.hi));
  out->put(static_cast<int32_t>(rule.step));
}

ScaleRule take_rule(ByteReader* in) {
  ScaleRule rule;
  rule.type = static_cast<DType>(in->take<int32_t>());
  rule.groups_per_unit = in->take<int64_t>();
  rule.lo = in->take<int32_t>();
  rule.hi = in->take<int32_t>();
  rule.step = in->take<int32_t>();
  return rule;
}

void put_grid(const QuantGrid& grid, ByteWriter* out) {
  out->put(grid.rows);
  out->put(grid.cols);
  out->put(grid.group);
  out->put(static_cast<int32_t>(grid.levels));
  out->put(static_cast<uint8_t>(grid.zero_is_free));
  out->put(static_cast<uint8_t>(grid.has_offset));
  out->put(static_cast<uint8_t>(grid.book != nullptr));
  put_rule(grid.scale_rule, out);
  put_rule(grid.offset_rule, out);
  out->put(static_cast<uint64_t>(grid.level.size()));
  out->put_bytes(std::as_bytes(std::span(grid.level)));
  out->put_matrix(grid.scale);
  out->put_matrix(grid.zero);
  out->put_matrix(grid.unit);
  out->put_matrix(grid.offset_unit);
}

bool is_type_of_scales(DType type) {
  return type == DType::kF32 || type == DType::kF16 || type == DType::kBF16 ||
         type == DType::kF8E4M3 || type == DType::kU8;
}

bool is_rule(const ScaleRule& rule, int64_t groups) {
  return is_type_of_scales(rule.type) && rule.groups_per_unit >= 0 && rule.step >= 1 &&
         rule.lo <= rule.hi && (!rule.has_units() || groups % rule.groups_per_unit == 0);
}

bool has_shape(const MatrixF& m, int64_t rows, int64_t cols) {
  return m.rows() == rows && m.cols() == cols;
}

bool are_units(const MatrixF& m, const ScaleRule& rule, const QuantGrid& grid) {
  if (m.cols() == 0) return m.rows() == 0 || m.rows() == grid.rows;
  return rule.has_units() && has_shape(m, grid.rows, grid.groups() / rule.groups_per_unit);
}

bool is_grid(const QuantGrid& grid) {
  if (grid.rows < 1 || grid.cols < 1 || grid.group < 1 || grid.cols % grid.group != 0) return false;
  if (grid.levels < 1 || grid.levels > 256) return false;
  if (!grid.level.empty() && std::ssize(grid.level) != grid.levels) return false;
  if (grid.book != nullptr &&
      (grid.cols % grid.tuple() != 0 || !std::ranges::equal(grid.level, grid.book->levels()))) {
    return false;
  }
  return is_rule(grid.scale_rule, grid.groups()) && is_rule(grid.offset_rule, grid.groups()) &&
         has_shape(grid.scale, grid.rows, grid.groups()) &&
         has_shape(grid.zero, grid.rows, grid.groups()) &&
         are_units(grid.unit, grid.scale_rule, grid) &&
         are_units(grid.offset_unit, grid.offset_rule, grid);
}

// Nothing if it is no grid of the kind.
std::optional<QuantGrid> take_grid(const GridKind& kind, ByteReader* in) {
  QuantGrid grid;
  grid.rows = in->take<int64_t>();
  grid.cols = in->take<int64_t>();
  grid.group = in->take<int64_t>();
  grid.levels = in->take<int32_t>();
  grid.zero_is_free = in->take<uint8_t>() != 0;
  grid.has_offset = in->take<uint8_t>() != 0;
  const bool has_book = in->take<uint8_t>() != 0;
  if (has_book != (kind.book != nullptr)) return std::nullopt;
  if (has_book) grid.book = &kind.book();
  grid.scale_rule = take_rule(in);
  grid.offset_rule = take_rule(in);
  const auto levels = in->take<uint64_t>();
  if (levels > 256) return std::nullopt;
  grid.level = in->take_values<float>(levels);
  grid.scale = in->take_matrix<float>();
  grid.zero = in->take_matrix<float>();
  grid.unit = in->take_matrix<float>();
  grid.offset_unit = in->take_matrix<float>();
  if (!in->ok() || !is_grid(grid)) return std::nullopt;
  return grid;
}

// Each code a level, each tuple a point of the book.
bool are_codes(const QuantGrid& grid, const Matrix<uint8_t>& codes) {
  if (codes.rows() != grid.rows || codes.cols() != grid.cols) return false;
  const std::span<const uint8_t> all(codes.data(), static_cast<std::size_t>(codes.size()));
  if (std::ranges::any_of(all, [&](uint8_t code) { return code >= grid.levels; })) return false;
  for (std::size_t at = 0; grid.book != nullptr && at < all.size(); at += kColumnsOfABook) {
    if (!grid.book->has(all.data() + at)) return false;
  }
  return true;
}

constexpr uint64_t kEntryBytes = 8 + 8 + 4;

void put_side(const SideMatrix& side, ByteWriter* out) {
  out->put(static_cast<uint64_t>(side.entries.size()));
  for (const SideMatrix::Entry& entry : side.entries) {
    out->put(entry.row);
    out->put(entry.col);
    out->put(entry.value);
  }
  out->put(static_cast<uint64_t>(side.columns.size()));
  for (const int64_t column : side.columns) out->put(column);
  out->put_matrix(side.column_values);
}

std::optional<SideMatrix> take_side(const QuantGrid& grid, ByteReader* in) {
  SideMatrix side;
  const auto entries = in->take<uint64_t>();
  if (entries > in->remaining() / kEntryBytes) return std::nullopt;
  for (uint64_t i = 0; i < entries; ++i) {
    SideMatrix::Entry entry{};
    entry.row = in->take<int64_t>();
    entry.col = in->take<int64_t>();
    entry.value = in->take<float>();
    if (entry.row < 0 || entry.row >= grid.rows || entry.col < 0 || entry.col >= grid.cols) {
      return std::nullopt;
    }
    if (!side.entries.empty()) {
      const SideMatrix::Entry& last = side.entries.back();
      if (std::pair(last.row, last.col) >= std::pair(entry.row, entry.col)) return std::nullopt;
    }
    side.entries.push_back(entry);
  }
  const auto columns = in->take<uint64_t>();
  if (columns > in->remaining() / sizeof(int64_t)) return std::nullopt;
  for (uint64_t i = 0; i < columns; ++i) {
    const auto column = in->take<int64_t>();
    if (column < 0 || column >= grid.cols) return std::nullopt;
    if (!side.columns.empty() && side.columns.back() >= column) return std::nullopt;
    side.columns.push_back(column);
  }
  side.column_values = in->take_matrix<float>();
  if (!in->ok() || side.column_values.cols() != static_cast<int64_t>(columns)) return std::nullopt;
  if (columns > 0 && side.column_values.rows() != grid.rows) return std::nullopt;
  return side;
}

}  // namespace

std::vector<std::byte> solution_to_bytes(const LayerSolution& solution) {
  ByteWriter out;
  put_grid(solution.grid, &out);
  put_codes(solution.codes, code_bits(solution.grid.levels), &out);
  put_side(solution.side, &out);
  out.put(solution.error);
  out.put(solution.rtn_error);
  out.put(solution.energy);
  out.put(solution.gemm_flops);
  out.put(solution.outcome.damping);
  out.put(solution.outcome.rows_from_rtn);
  out.put(static_cast<int32_t>(solution.outcome.iterations));
  out.put_text(solution.outcome.fallback);
  return out.take();
}

Result<LayerSolution> solution_from_bytes(std::span<const std::byte> bytes, const GridKind& kind,
                                          const std::string& where) {
  const auto bad = [&](const std::string& what) {
    return corrupt(where + ": these bytes are no layer solution: " + what);
  };
  ByteReader in(bytes);
  LayerSolution solution;
  std::optional<QuantGrid> grid = take_grid(kind, &in);
  if (!grid) return bad("there is no grid of the kind " + std::string(kind.name) + " in them");
  solution.grid = std::move(*grid);
  solution.codes = take_codes(solution.grid, &in);
  if (!in.ok() || !are_codes(solution.grid, solution.codes)) {
    return bad("the codes are not all there or not on the grid");
  }
  std::optional<SideMatrix> side = take_side(solution.grid, &in);
  if (!side) return bad("what is kept beside the grid does not fit it");
  solution.side = std::move(*side);
  solution.error = in.take<double>();
  solution.rtn_error = in.take<double>();
  solution.energy = in.take<double>();
  solution.gemm_flops = in.take<double>();
  solution.outcome.damping = in.take<double>();
  solution.outcome.rows_from_rtn = in.take<int64_t>();
  solution.outcome.iterations = in.take<int32_t>();
  solution.outcome.fallback = in.take_text();
  if (!in.is_done()) return bad("they are too few or too many");
  return solution;
}

}  // namespace coldpress
