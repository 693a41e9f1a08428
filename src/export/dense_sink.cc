#include "export/dense_sink.h"

#include <utility>

namespace coldpress {

DenseSink::DenseSink(const ExportRequest& request, Layout layout)
    : model_(request.model),
      out_(request.out.string()),
      layout_(std::move(layout.tensors)),
      dropped_(std::move(layout.dropped)) {
  for (std::size_t i = 0; i < layout_.size(); ++i) {
    if (layout_[i].how == OutputTensor::How::kQuantised) quantised_[layout_[i].source] = i;
  }
}

std::vector<ExportedTensor> DenseSink::tensors() const {
  std::vector<ExportedTensor> out;
  for (const OutputTensor& t : layout_) out.push_back({t.source, t.name, t.stored_type, t.how});
  out.insert(out.end(), dropped_.begin(), dropped_.end());
  return out;
}

Status DenseSink::put(const std::string& source_name, View2<const float> values) {
  const auto found = quantised_.find(source_name);
  COLDPRESS_CHECK(found != quantised_.end());
  const OutputTensor& tensor = layout_[found->second];
  COLDPRESS_CHECK(values.rows == tensor.shape[tensor.transposed ? 1 : 0] &&
                  values.cols == tensor.shape[tensor.transposed ? 0 : 1]);
  COLDPRESS_CHECK(hashes_.emplace(source_name, hash_values(values)).second);
  encode_exact(tensor, values, buffer_);
  return write(tensor, buffer_);
}

Status DenseSink::finish(const ExportManifest& manifest) {
  COLDPRESS_CHECK(hashes_.size() == quantised_.size());
  for (const OutputTensor& tensor : layout_) {
    if (tensor.how == OutputTensor::How::kQuantised) continue;
    COLDPRESS_ASSIGN_OR_RETURN(const auto bytes, stored_bytes(model_, tensor, buffer_));
    COLDPRESS_RETURN_IF_ERROR(write(tensor, bytes));
  }
  COLDPRESS_RETURN_IF_ERROR(seal(manifest));
  COLDPRESS_RETURN_IF_ERROR(verify_output(work_path(), out_, model_, layout_, hashes_));
  return commit();
}

}  // namespace coldpress
