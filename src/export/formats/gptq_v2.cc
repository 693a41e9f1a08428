// GPTQ, version 2: zeros as they are, of symmetric and other grids.
#include "export/folder_sink.h"
#include "export/gptq_codes.h"
#include "export/table.h"
#include "io/json.h"

namespace coldpress {
namespace {

constexpr CodeFormat kCodes = {
    .check = gptq::check_bits,
    .check_size = gptq::check_size,
    .stored_type = gptq::stored_type,
    .parts = gptq::parts,
    .pack = [](const GridOptions& options, const QuantGrid& grid,
               View2<const uint8_t> codes) { return gptq::pack(options, grid, codes, 0); },
    .good_zeros =
        [](const GridOptions& grid, int64_t rows, std::span<const std::byte> zeros) {
          return gptq::good_zeros(grid, rows, zeros, 0);
        },
    .keeps_f16 = true,
    .settings = [](const GridOptions& grid,
                   const CodedModel& model) { return gptq::settings(grid, model, "gptq_v2"); },
};

}  // namespace

extern const ExportFormat kExportFormat_gptq_v2;
const ExportFormat kExportFormat_gptq_v2 = {
    .name = "gptq-v2",
    .suffix = "",
    .create = open_folder<&kCodes>,
    .codes = &kCodes,
};

}  // namespace coldpress
