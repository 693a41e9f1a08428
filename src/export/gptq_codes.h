// What the two versions of GPTQ's format share: X.qweight has the codes down the inputs, one column
// per output; X.qzeros the zeros along the outputs, one row per group; X.scales (groups, outputs).
// X.g_idx says that input i is in group i / group: loaders that would not look at it ("desc_act" is
// false) fail, or read chance, where it is missing.
//
// Version 1 stores each zero less one, which its loaders add again without a wrap; version 2 as it
// is.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "export/code_format.h"

namespace coldpress::gptq {

Status check_bits(const GridOptions& grid);
Status check_size(const GridOptions& grid, int64_t rows, int64_t cols);
std::string stored_type(const GridOptions& grid, int64_t cols);
std::vector<CodedPart> parts(const GridOptions& grid, const std::string& module, int64_t rows,
                             int64_t cols);
// `less`: what is taken off every zero, 1 or 0.
std::vector<std::vector<std::byte>> pack(const GridOptions& options, const QuantGrid& grid,
                                         View2<const uint8_t> codes, uint32_t less);
// Of a symmetric grid, whether every stored zero is the middle code.
bool good_zeros(const GridOptions& grid, int64_t rows, std::span<const std::byte> zeros,
                uint32_t less);
Json settings(const GridOptions& grid, const CodedModel& model, const char* checkpoint_format);

}  // namespace coldpress::gptq
