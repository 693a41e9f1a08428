// The part of writing output that does not depend on the container: where each tensor comes from
// and goes to, and that the result is opened again and compared.
#pragma once

#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "export/export.h"
#include "export/layout.h"
#include "export/verify.h"

namespace coldpress {

class DenseSink : public ExportSink {
 public:
  std::vector<ExportedTensor> tensors() const final;
  Status put(const std::string& source_name, const PressedTensor& tensor) final;
  using ExportSink::finish;
  Status finish(const MakeManifest& make_manifest) final;

 protected:
  DenseSink(const ExportRequest& request, Layout layout);

  const std::vector<OutputTensor>& layout() const { return layout_; }

  // Stores a quantised tensor that is in one piece: by default its values in the dense type, or its
  // blocks.
  virtual Status store(const OutputTensor& tensor, const PressedTensor& pressed);
  // Stores one tensor's bytes in the unfinished output.
  virtual Status write(const OutputTensor& tensor, std::span<const std::byte> bytes) = 0;
  // Everything is written: makes the unfinished output readable at work_path().
  virtual Status seal(const ExportManifest& manifest) = 0;
  virtual const std::filesystem::path& work_path() const = 0;
  // After seal(): compares what the tensors do not show.
  virtual Status audit() { return {}; }
  // The output was read back and is right: gives it its name.
  virtual Status commit() = 0;

 private:
  const Model& model_;
  std::string out_;
  std::vector<OutputTensor> layout_;
  std::vector<ExportedTensor> dropped_;
  struct Place {
    std::size_t tensor;  // in layout_
    std::size_t piece;
  };
  // Bytes of a tensor of several pieces until all of them are here.
  struct Unfinished {
    std::vector<std::byte> bytes;
    std::size_t pieces = 0;
  };
  Status put_piece(Place place, const PressedTensor& pressed);

  std::multimap<std::string, Place> quantised_;  // by source name
  std::set<std::string> received_;               // source names
  std::map<std::size_t, Unfinished> unfinished_;
  PieceHashes hashes_;  // of what put() received
  std::vector<std::byte> buffer_;
};

}  // namespace coldpress
