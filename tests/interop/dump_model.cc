// Writes what coldpress computes from a model: the logits of a window and the values of every
// packed weight, for the comparison with other programs.
//   dump_model MODEL IDS OUT.safetensors     IDS: token ids in a text file
#include <fmt/format.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include "io/safetensors.h"
#include "model/model.h"
#include "tests/model/forward.h"

namespace coldpress {
namespace {

Status dump(const std::string& path, const std::vector<int32_t>& ids, const std::string& out) {
  COLDPRESS_ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, Model::open(path));
  std::vector<SafetensorsWriter::Declaration> declared;
  std::vector<MatrixF> values;
  StageRunner runner(model->config());
  COLDPRESS_ASSIGN_OR_RETURN(MatrixF logits, window_logits(*model, runner, ids));
  declared.push_back({"logits", DType::kF32, {logits.rows(), logits.cols()}});
  values.push_back(std::move(logits));
  for (const SourceTensor& tensor : model->tensors()) {
    if (!tensor.is_packed) continue;
    COLDPRESS_ASSIGN_OR_RETURN(MatrixF weight, model->load(tensor.name));
    declared.push_back({tensor.name, DType::kF32, {weight.rows(), weight.cols()}});
    values.push_back(std::move(weight));
  }
  COLDPRESS_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                             SafetensorsWriter::create(out, declared, {}));
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::span<const float> flat(values[i].data(), static_cast<std::size_t>(values[i].size()));
    COLDPRESS_RETURN_IF_ERROR(writer.write(declared[i].name, std::as_bytes(flat)));
  }
  return writer.finish();
}

}  // namespace
}  // namespace coldpress

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "usage: dump_model MODEL IDS OUT.safetensors\n");
    return 2;
  }
  std::vector<int32_t> ids;
  std::ifstream file(argv[2]);
  for (int32_t id = 0; file >> id;) ids.push_back(id);
  const coldpress::Status done = coldpress::dump(argv[1], ids, argv[3]);
  if (!done.ok()) fmt::print(stderr, "{}\n", done.message());
  return done.ok() ? 0 : 1;
}
