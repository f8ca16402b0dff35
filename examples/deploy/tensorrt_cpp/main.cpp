// ./run_engine model.engine image.ppm outputs/
//
// Loads a TensorRT engine, scales a binary PPM image of the engine's size to 0..1, runs it once and
// writes each output as raw float32 (outputs/seg.f32, ...) beside its shape on stdout.
// Compiles against TensorRT 10 and 11. Never run on hardware by us.

#include <NvInfer.h>
#include <cuda_runtime_api.h>

#include <cstdint>
#include <fstream>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

class Logger : public nvinfer1::ILogger {
    void log(Severity severity, char const* text) noexcept override {
        if (severity <= Severity::kWARNING) std::cerr << text << '\n';
    }
};

void check(cudaError_t code, char const* what) {
    if (code != cudaSuccess)
        throw std::runtime_error(std::string(what) + ": " + cudaGetErrorString(code));
}

class DeviceMemory {
public:
    explicit DeviceMemory(std::size_t bytes) { check(cudaMalloc(&address_, bytes), "cudaMalloc"); }
    ~DeviceMemory() { cudaFree(address_); }
    DeviceMemory(DeviceMemory const&) = delete;
    DeviceMemory& operator=(DeviceMemory const&) = delete;
    void* get() const { return address_; }

private:
    void* address_{nullptr};
};

std::vector<char> readFile(std::string const& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path);
    return {std::istreambuf_iterator<char>(file), {}};
}

struct Image {
    int width{0}, height{0};
    std::vector<float> planes;  // 3 x height x width, 0..1
};

Image readPpm(std::string const& path) {
    std::ifstream file(path, std::ios::binary);
    std::string magic;
    Image image;
    int largest{0};
    file >> magic >> image.width >> image.height >> largest;
    file.get();
    if (!file || magic != "P6" || largest != 255 || image.width < 1 || image.height < 1)
        throw std::runtime_error(path + " is no binary PPM (P6, 8 bits)");
    std::size_t const plane = static_cast<std::size_t>(image.width) * image.height;
    std::vector<std::uint8_t> pixels(plane * 3);
    file.read(reinterpret_cast<char*>(pixels.data()), static_cast<std::streamsize>(pixels.size()));
    if (!file) throw std::runtime_error(path + " is cut off");
    image.planes.resize(plane * 3);
    for (std::size_t pixel = 0; pixel < plane; ++pixel)
        for (std::size_t channel = 0; channel < 3; ++channel)
            image.planes[channel * plane + pixel] = pixels[pixel * 3 + channel] / 255.0F;
    return image;
}

std::size_t count(nvinfer1::Dims const& dims) {
    std::size_t total = 1;
    for (int axis = 0; axis < dims.nbDims; ++axis) {
        if (dims.d[axis] < 0) throw std::runtime_error("a shape is not known");
        total *= static_cast<std::size_t>(dims.d[axis]);
    }
    return total;
}

void run(std::string const& enginePath, std::string const& imagePath, std::string const& folder) {
    Logger logger;
    auto const plan = readFile(enginePath);
    std::unique_ptr<nvinfer1::IRuntime> runtime{nvinfer1::createInferRuntime(logger)};
    std::unique_ptr<nvinfer1::ICudaEngine> engine{
        runtime->deserializeCudaEngine(plan.data(), plan.size())};
    if (!engine) throw std::runtime_error(enginePath + " is no engine for this TensorRT and GPU");
    std::unique_ptr<nvinfer1::IExecutionContext> context{engine->createExecutionContext()};

    auto const image = readPpm(imagePath);
    std::vector<std::unique_ptr<DeviceMemory>> memory;
    std::vector<std::pair<std::string, DeviceMemory*>> outputs;
    cudaStream_t stream{};
    check(cudaStreamCreate(&stream), "cudaStreamCreate");
    for (int index = 0; index < engine->getNbIOTensors(); ++index) {  // inputs come first
        char const* name = engine->getIOTensorName(index);
        if (engine->getTensorDataType(name) != nvinfer1::DataType::kFLOAT)
            throw std::runtime_error(std::string(name) + " is not float32");
        bool const isInput = engine->getTensorIOMode(name) == nvinfer1::TensorIOMode::kINPUT;
        if (isInput) {
            nvinfer1::Dims4 const shape{1, 3, image.height, image.width};
            if (!context->setInputShape(name, shape))
                throw std::runtime_error("the image's size is outside the engine's profile");
        }
        auto const bytes = count(context->getTensorShape(name)) * sizeof(float);
        memory.push_back(std::make_unique<DeviceMemory>(bytes));
        context->setTensorAddress(name, memory.back()->get());
        if (isInput)
            check(cudaMemcpyAsync(memory.back()->get(), image.planes.data(), bytes,
                                  cudaMemcpyHostToDevice, stream), "copy in");
        else
            outputs.emplace_back(name, memory.back().get());
    }
    if (!context->enqueueV3(stream)) throw std::runtime_error("the engine did not start");
    for (auto const& [name, device] : outputs) {
        auto const dims = context->getTensorShape(name.c_str());
        std::vector<float> values(count(dims));
        check(cudaMemcpyAsync(values.data(), device->get(), values.size() * sizeof(float),
                              cudaMemcpyDeviceToHost, stream), "copy out");
        check(cudaStreamSynchronize(stream), "run");
        std::ofstream file(folder + "/" + name + ".f32", std::ios::binary);
        file.write(reinterpret_cast<char const*>(values.data()),
                   static_cast<std::streamsize>(values.size() * sizeof(float)));
        if (!file) throw std::runtime_error("cannot write into " + folder);
        std::cout << name << ':';
        for (int axis = 0; axis < dims.nbDims; ++axis) std::cout << ' ' << dims.d[axis];
        std::cout << '\n';
    }
    cudaStreamDestroy(stream);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4) {
        std::cerr << "usage: run_engine model.engine image.ppm OUTPUT_FOLDER\n";
        return 2;
    }
    try {
        run(argv[1], argv[2], argv[3]);
    } catch (std::exception const& error) {
        std::cerr << "error: " << error.what() << '\n';
        return 1;
    }
    return 0;
}
