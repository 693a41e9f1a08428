// A Hugging Face folder of dense weights.
#include "export/folder_sink.h"
#include "export/table.h"

namespace coldpress {

extern const ExportFormat kExportFormat_dense_safetensors;
const ExportFormat kExportFormat_dense_safetensors = {
    .name = "safetensors folder",
    .suffix = "",
    .create = open_folder<nullptr>,
};

}  // namespace coldpress
