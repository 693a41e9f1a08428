// Writing a Hugging Face folder: weights in the source's shards or in shards of a given size, the
// source's other files byte for byte, and coldpress.json, the manifest. Linears are dense, or codes
// in the parts that a format for codes makes of them.
#pragma once

#include <memory>

#include "base/status.h"
#include "export/code_format.h"
#include "export/export.h"

namespace coldpress {

// `codes`: null for dense linears. Refuses, by tensor, what the format does not hold.
Result<std::unique_ptr<ExportSink>> open_folder_sink(const ExportRequest& request,
                                                     const CodeFormat* codes);

template <const CodeFormat* kCodes>
Result<std::unique_ptr<ExportSink>> open_folder(const ExportRequest& request) {
  return open_folder_sink(request, kCodes);
}

}  // namespace coldpress
