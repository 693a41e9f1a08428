// The files of a Hugging Face folder for a model that came as GGUF.
#pragma once

#include <string>

#include "base/dtype.h"
#include "base/status.h"
#include "model/model.h"
#include "tokenizer/hf_vocab.h"

namespace coldpress {

struct HfFolderFiles {
  std::string config_json;
  HfTokenizerFiles tokenizer;
};

// Configuration and vocabulary. The configuration, read back by the program's own reader, is the
// source's; what config.json or tokenizer.json cannot express is refused, naming what.
// `tokenizer_pre`: as in ExportRequest.
Result<HfFolderFiles> hf_files_of(const Model& model, DType dense_type,
                                  const std::string& tokenizer_pre = {});

}  // namespace coldpress
