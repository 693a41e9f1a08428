#include "export/dense_sink.h"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace coldpress {

DenseSink::DenseSink(const ExportRequest& request, Layout layout)
    : model_(request.model),
      out_(request.out.string()),
      layout_(std::move(layout.tensors)),
      dropped_(std::move(layout.dropped)) {
  for (std::size_t i = 0; i < layout_.size(); ++i) {
    if (layout_[i].how != OutputTensor::How::kQuantised) continue;
    const std::vector<Piece>& pieces = layout_[i].pieces;
    if (pieces.empty()) quantised_.emplace(layout_[i].source, Place{i, 0});
    for (std::size_t p = 0; p < pieces.size(); ++p) {
      quantised_.emplace(pieces[p].source, Place{i, p});
    }
  }
}

std::vector<ExportedTensor> DenseSink::tensors() const {
  std::vector<ExportedTensor> out;
  for (const OutputTensor& t : layout_) {
    if (t.pieces.empty()) out.push_back({t.source, t.name, t.stored_type, t.how});
    for (std::size_t p = 0; p < t.pieces.size(); ++p) {
      const std::string& source = t.pieces[p].source;
      if (p > 0 && source == t.pieces[p - 1].source) continue;
      out.push_back({source, t.name, t.stored_type, t.how});
    }
  }
  out.insert(out.end(), dropped_.begin(), dropped_.end());
  return out;
}

Status DenseSink::put(const std::string& source_name, const PressedTensor& tensor) {
  const auto [first, last] = quantised_.equal_range(source_name);
  COLDPRESS_CHECK(first != last && received_.insert(source_name).second);
  for (auto it = first; it != last; ++it) {
    COLDPRESS_RETURN_IF_ERROR(put_piece(it->second, tensor));
  }
  return {};
}

Status DenseSink::put_piece(Place place, const PressedTensor& pressed) {
  const View2<const float> values = pressed.values;
  const OutputTensor& tensor = layout_[place.tensor];
  ValueHash& hash = hashes_[{tensor.name, place.piece}];
  if (tensor.pieces.empty()) {
    const int64_t stored_rows = tensor.transposed ? values.cols : values.rows;
    const int64_t stored_cols = tensor.transposed ? values.rows : values.cols;
    const bool stacked = tensor.shape.size() == 3;  // experts, one below the other
    COLDPRESS_CHECK(stored_rows == tensor.shape[0] * (stacked ? tensor.shape[1] : 1) &&
                    stored_cols == tensor.shape.back());
    hash = hash_values(values);
    return store(tensor, pressed);
  }
  const Piece& piece = tensor.pieces[place.piece];
  COLDPRESS_CHECK(piece.row + piece.rows <= values.rows && values.cols == tensor.shape.back());
  const View2<const float> rows = values.row_range(piece.row, piece.rows);
  hash = hash_values(rows);
  PressedTensor part{rows, {}};
  if (pressed.blocks.rows > 0) part.blocks = pressed.blocks.row_range(piece.row, piece.rows);
  encode_exact(tensor, part, buffer_);
  Unfinished& whole = unfinished_[place.tensor];
  const std::size_t row_bytes = buffer_.size() / static_cast<std::size_t>(piece.rows);
  const std::size_t at = static_cast<std::size_t>(piece.at) * row_bytes;
  if (whole.bytes.empty()) {
    const Piece& end = tensor.pieces.back();
    whole.bytes.resize(static_cast<std::size_t>(end.at + end.rows) * row_bytes);
  }
  std::copy(buffer_.begin(), buffer_.end(), whole.bytes.begin() + static_cast<std::ptrdiff_t>(at));
  if (++whole.pieces < tensor.pieces.size()) return {};
  const Status written = write(tensor, whole.bytes);
  unfinished_.erase(place.tensor);
  return written;
}

Status DenseSink::store(const OutputTensor& tensor, const PressedTensor& pressed) {
  encode_exact(tensor, pressed, buffer_);
  return write(tensor, buffer_);
}

Status DenseSink::finish(const MakeManifest& make_manifest) {
  COLDPRESS_CHECK(hashes_.size() == quantised_.size());  // everything was put
  for (const OutputTensor& tensor : layout_) {
    if (tensor.how == OutputTensor::How::kQuantised) continue;
    COLDPRESS_ASSIGN_OR_RETURN(const auto bytes, stored_bytes(model_, tensor, buffer_));
    COLDPRESS_RETURN_IF_ERROR(write(tensor, bytes));
    drop_source(model_, tensor);
  }
  COLDPRESS_RETURN_IF_ERROR(seal(make_manifest()));
  COLDPRESS_RETURN_IF_ERROR(audit());
  COLDPRESS_RETURN_IF_ERROR(verify_output(work_path(), out_, model_, layout_, hashes_));
  return commit();
}

}  // namespace coldpress
